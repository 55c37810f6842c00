"""How far two ways through the same network may differ on this machine."""

import torch

from vsa.runtime.device import pick_device

# bfloat16 keeps eight bits of a number, and a frozen network rounds elsewhere
NEAR = torch.finfo(torch.bfloat16).eps if pick_device().autocast_dtype else 1e-4
