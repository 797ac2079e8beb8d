"""Random numbers that depend on the epoch, not on what came before."""
import numpy as np
from mmengine.dataset import worker_init_fn
from mmengine.dist import broadcast_object_list, get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed
from mmpose.registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seed all generators anew at each epoch, so that a resume repeats it.

    MMEngine seeds Python, NumPy and torch at the start of a process and does
    not store their state. So a resumed training augments the images in another
    way than an uninterrupted one. If the config fixes no seed, it also
    shuffles them in another way.

    With this hook the random numbers of an epoch depend on the seed (which
    MMEngine stores), the epoch and the process's rank alone, in the workers of
    the data loader, too. On a CPU a resumed training gives the same weights
    bit for bit. On a GPU it does as far as the kernels are deterministic
    (``randomness=dict(deterministic=True)``).

    The workers must be started anew at each epoch:
    ``train_dataloader.persistent_workers=False``. A ``worker_init_fn`` of the
    config is kept, with a warning. It runs after torch has seeded the worker.
    The hook is for ``EpochBasedTrainLoop``.
    """

    # After the other hooks, which may draw random numbers.
    priority = 'VERY_LOW'

    def before_train(self, runner: Runner) -> None:
        """Give sampler and workers the seed of the checkpoint.

        Args:
            runner (Runner): The runner of the training.
        """
        seed = [runner.seed]
        broadcast_object_list(seed)  # with diff_rank_seed, each has its own
        self.seed, = seed
        loader = runner.train_dataloader
        sampler = getattr(loader.batch_sampler, 'sampler', loader.sampler)
        if hasattr(sampler, 'seed'):
            # MMEngine has built it before it read the checkpoint.
            sampler.seed = self.seed
        # MMEngine's gives them the same numbers at each epoch; torch seeds
        # them from the generator of this process.
        init_fn = loader.worker_init_fn
        if getattr(init_fn, 'func', None) is worker_init_fn:
            loader.worker_init_fn = None
        elif init_fn is not None:
            runner.logger.warning(
                'train_dataloader.worker_init_fn is kept and may seed Python, '
                'NumPy or torch. EpochSeedHook then does not seed the '
                'workers, and they may draw the same numbers at each epoch')
        if loader.num_workers and loader.persistent_workers:
            runner.logger.warning(
                'train_dataloader.persistent_workers=True: the workers keep '
                'their random state, so a resumed training will differ from '
                'an uninterrupted one. Set it to False')

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed Python, NumPy and torch.

        Args:
            runner (Runner): The runner of the training.
        """
        sequence = np.random.SeedSequence(
            [self.seed, runner.epoch, get_rank()])
        set_random_seed(int(sequence.generate_state(1)[0]))
