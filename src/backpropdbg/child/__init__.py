"""The process of the program: what runs the program, and what stands beside it there."""
