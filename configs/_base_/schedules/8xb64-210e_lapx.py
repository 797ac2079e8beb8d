# LAPX's Non-Local layers are off at first, then gamma is raised to 0.2. The
# paper does not say when; done before the learning rate drops.
_base_ = '8xb64-210e_lap.py'

custom_hooks = [
    dict(type='SyncBuffersHook'),
    dict(type='NonLocalRampHook', begin=60, end=120, gamma=0.2)
]

# The layers get no gradients while they are off.
find_unused_parameters = True
