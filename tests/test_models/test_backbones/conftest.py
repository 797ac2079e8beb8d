"""Fixtures of the backbones' tests."""
import pytest
import torch
from mmengine.runner import load_checkpoint


@pytest.fixture
def load_by_mmengine(tmp_path):
    """Load a state dict into a model from a file, as MMEngine does."""

    def load(model, state_dict):
        path = str(tmp_path / 'weights.pth')
        torch.save(dict(state_dict=state_dict), path)
        return load_checkpoint(model, path, map_location='cpu')

    return load


@pytest.fixture(params=['mmengine', 'torch'])
def load(request, load_by_mmengine):
    """Load a state dict into a model, by MMEngine and by torch."""
    if request.param == 'mmengine':
        return load_by_mmengine
    return lambda model, state_dict: model.load_state_dict(state_dict)
