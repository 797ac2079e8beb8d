"""pycocotools under the name of xtcocotools, where that is missing or broken.

MMPose measures with xtcocotools, which has no wheels for NumPy 2.
"""
