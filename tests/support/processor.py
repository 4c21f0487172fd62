"""What the processor at hand can do, for tests: marks with the reason for which a test is skipped."""

from __future__ import annotations

import pytest
import torch

from est.encoders.precision import why_emulated

LACKS_BF16 = why_emulated("bf16", torch.device("cpu"))
needs_bf16 = pytest.mark.skipif(LACKS_BF16 is not None, reason=str(LACKS_BF16))
PRECISIONS = ("fp32", pytest.param("bf16", marks=needs_bf16))  # to parametrize by
