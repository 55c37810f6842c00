"""How far two ways through the same network may differ on this machine."""

from vsa.runtime.device import pick_device

# bfloat16 keeps eight bits of a number, and rounds elsewhere in a network that was frozen
NEAR = 2e-3 if pick_device().autocast_dtype else 1e-4
