"""Networks that see: backbones to train from, and embedders, from pictures to features."""
