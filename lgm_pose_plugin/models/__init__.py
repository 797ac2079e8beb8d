"""Networks: backbones, necks, heads, losses and distillers."""
from . import backbones, distillers, heads, losses, necks  # noqa: F401
