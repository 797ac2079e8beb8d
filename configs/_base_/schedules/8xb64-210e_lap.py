# MMPose's recipe for heat maps; LAP's and LAPX's is unpublished.
_base_ = '8xb64-210e.py'

optim_wrapper = dict(optimizer=dict(lr=5e-4))
