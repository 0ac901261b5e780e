"""torch.compile, whole graphs only: a hook of ours would break them. The backend is eager, so nothing is built."""

import torch._dynamo.testing
from training import model, optimizer, step

counted = torch._dynamo.testing.CompileCounter()
model.compile(backend=counted, fullgraph=True)
for _ in range(3):
    step()
optimizer.zero_grad()
print("graphs", counted.frame_count, "operations", counted.op_count)
