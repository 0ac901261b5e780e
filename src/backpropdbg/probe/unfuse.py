"""`--unfuse`: let torch compute in parts what it else computes in one operation. Last digits may differ."""

import torch


def unfuse() -> None:
    """Recurrent layers without mkldnn and cuDNN, attention by plain mathematics, for this process."""
    torch.backends.mkldnn.set_flags(False)  # type: ignore[no-untyped-call]
    torch.backends.cudnn.enabled = False
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.backends.cuda.enable_math_sdp(True)
