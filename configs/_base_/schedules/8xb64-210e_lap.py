# LAP's and LAPX's recipe is unpublished; this is MMPose's for heat maps.
_base_ = '8xb64-210e.py'

optim_wrapper = dict(optimizer=dict(lr=5e-4))
