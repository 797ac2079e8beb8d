"""Run a model in PyTorch's channels_last memory format."""
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmpose.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Put the model's weights into ``torch.channels_last`` before a run.

    Convolutions then keep that format from layer to layer; results stay the
    same. On the CPU of our benchmark, training LGM-Pose takes about half the
    time (see ``docs/real_data.md``).
    """

    def before_run(self, runner: Runner) -> None:
        """Convert the model.

        Args:
            runner (Runner): The runner whose model is converted in place.
        """
        runner.model.to(memory_format=torch.channels_last)
