"""What the public functions give: recordings as tensors, how they show themselves, and `set_trace()`."""
