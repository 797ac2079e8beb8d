"""Convert data sets to COCO's format."""
