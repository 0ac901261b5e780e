"""backpropdbg: a step-through debugger for backprop."""
