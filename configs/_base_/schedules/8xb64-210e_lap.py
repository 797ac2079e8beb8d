# MMPose's recipe for heat maps. LAP's and LAPX's is unpublished. The code of
# Dite-HRNet and HF-HRNet has a learning rate of 2e-3 at batch size 256.
_base_ = '8xb64-210e.py'

optim_wrapper = dict(optimizer=dict(lr=5e-4))
