"""A program's gradients as a table: the child collects facts, the parent judges and shows them."""
