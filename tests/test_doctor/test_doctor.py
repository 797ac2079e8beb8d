import argparse
import json
import os
import re
import subprocess
import sys
import textwrap

import pytest

import lgm_pose_plugin
from lgm_pose_plugin.cli import doctor as command
from lgm_pose_plugin.doctor import probes
from lgm_pose_plugin.doctor.checks import ALL, diagnose
from lgm_pose_plugin.doctor.facts import Facts
from lgm_pose_plugin.doctor.probes import Probe

HEALTHY = Facts(
    python=(3, 11, 7),
    versions={
        'torch': '2.9.1+cu128',
        'torchvision': '0.24.1',
        'numpy': '2.2.6',
        'mmengine': '0.10.7',
        'mmcv': '2.1.0',
        'mmdet': '3.3.0',
        'mmpose': '1.3.2',
        'pycocotools': '2.0.11',
        'setuptools': '80.10.2',
        'opencv-python-headless': '4.10.0.84',
        'openmim': '0.3.9',
    },
    environ={'OMP_NUM_THREADS': '1'},
    cpus=4.,
    mim_configs='/site-packages/lgm_pose_plugin/.mim/configs',
    probes=dict({name: Probe(True, 'runs')
                 for name in probes.PROBES},
                compat=Probe(True, 'mmcv: not needed: ')))


def find(facts, name):
    result, = [r for r in diagnose(facts) if r.name == name]
    return result


def with_versions(**changes):
    versions = dict(HEALTHY.versions)
    for name, version in changes.items():
        versions.pop(name.replace('_', '-'), None)
        if version:
            versions[name.replace('_', '-')] = version
    return HEALTHY._replace(versions=versions)


def with_probe(name, error='broken', ok=False):
    answers = dict(HEALTHY.probes, **{name: Probe(ok, error)})
    return HEALTHY._replace(probes=answers)


def test_healthy():
    results = diagnose(HEALTHY)
    assert {r.status for r in results} == {'ok'}
    assert not any(r.blocks or r.remedy for r in results)
    assert len({r.name for r in results}) == len(results)


@pytest.mark.promise('doctor')
@pytest.mark.parametrize('name, version, found', [
    ('torch', '1.12.1', '>=1.13'),
    ('torch', None, 'not installed'),
    ('mmcv', '2.2.0', '<2.2'),
    ('mmcv', '1.7.2', '>=2.0.1'),
    ('mmdet', '2.28.0', '>=3.0'),
    ('mmpose', '0.29.0', '>=1.1'),
    ('mmpose', None, 'not installed'),
    ('mmengine', '0.10.3', '>=0.10.4'),
    ('pycocotools', None, 'not installed'),
    ('opencv_python_headless', None, 'not installed'),
])
def test_wrong_versions(name, version, found):
    name, facts = name.replace('_', '-'), with_versions(**{name: version})
    result = find(facts, name)
    assert result.status == 'FAIL' and found in result.found
    assert result.blocks == ALL and name in result.remedy


@pytest.mark.parametrize('name, version', [
    ('torch', '2.10.0'),
    ('mmcv', '2.0.1'),
    ('mmpose', '1.1.0'),
    ('mmengine', '0.10.4'),
    ('mmdet', '3.0.0rc6'),
])
def test_right_versions(name, version):
    assert find(with_versions(**{name: version}), name).status == 'ok'


@pytest.mark.parametrize('version, status', [((3, 8, 1), 'ok'),
                                             ((3, 12, 9), 'ok'),
                                             ((3, 14, 0), 'warn')])
def test_python(version, status):
    assert find(HEALTHY._replace(python=version), 'python').status == status


@pytest.mark.parametrize('name, fork, version', [
    ('mmengine', 'onedl_mmengine', '0.10.12'),
    ('mmcv', 'onedl_mmcv', '2.3.6'),
    ('mmdet', 'onedl_mmdetection', '3.5.1'),
])
def test_forks_provide(name, fork, version):
    result = find(with_versions(**{name: None, fork: version}), name)
    assert result.status == 'ok' and 'onedl-' in result.found


@pytest.mark.parametrize('name, other', [
    ('mmcv', 'mmcv_lite'),
    ('mmcv', 'onedl_mmcv'),
    ('mmengine', 'onedl_mmengine'),
    ('opencv-python-headless', 'opencv_python'),
])
def test_two_packages_of_the_same_files(name, other):
    result = find(with_versions(**{other: '9'}), name)
    assert result.status == 'warn' and 'same files' in result.found
    assert other.replace('_', '-') in result.found


@pytest.mark.promise('doctor')
@pytest.mark.parametrize('probe, name, blocks, remedy', [
    ('torch', 'torch runs', ALL, 'numpy<2'),
    ('opencv', 'opencv runs', ALL, 'opencv-python-headless'),
    ('xtcocotools', 'xtcocotools runs', ALL, 'install pycocotools'),
    ('mmcv_ops', 'mmcv ops', ALL, 'install mmcv-lite.*MMCV_WITH_OPS'),
    ('mmdet', 'mmdet imports', ALL, 'mmcv==2.1.0'),
    ('mmpose', 'mmpose imports', ALL, 'mmpose'),
    ('plugin', 'plugin', ALL, 'lgm_pose_plugin'),
    ('checkpoint', 'checkpoints', ('infer', 'test'), 'weights_only'),
])
def test_failed_probes(probe, name, blocks, remedy):
    result = find(with_probe(probe, 'Error: why'), name)
    assert result.status == 'FAIL' and 'why' in result.found
    assert result.blocks == blocks
    assert re.search(remedy, result.remedy)


def test_what_fails_for_a_missing_package_is_told_once():
    error = "ModuleNotFoundError: No module named 'torch'"
    facts = with_versions(torch=None)
    facts = facts._replace(
        probes=dict(facts.probes, mmcv_ops=Probe(False, error)))
    assert [result.name for result in diagnose(facts)
            if result.blocks] == ['torch']
    # It is there, and broken.
    assert find(with_probe('mmcv_ops', error), 'mmcv ops').status == 'FAIL'
    # A part of a package that is there.
    error = "ModuleNotFoundError: No module named 'mmcv._ext'"
    assert find(with_probe('mmcv_ops', error), 'mmcv ops').status == 'FAIL'


def test_what_stands_in():
    facts = with_probe(
        'compat', 'mmcv: active: torchvision does it\n'
        'drawing: not needed: ',
        ok=True)
    result = find(facts, 'compat mmcv')
    assert result[1:3] == ('info', 'active, torchvision does it')
    assert find(facts, 'compat drawing')[1:3] == ('ok', 'not needed')
    # What ends the process is told elsewhere.
    names = {r.name for r in diagnose(with_probe('compat'))}
    assert not names & {'compat', 'compat mmcv'}


@pytest.mark.parametrize('version', ['81.0.0', '82.0.0', None])
def test_mim_needs_pkg_resources(version):
    result = find(with_versions(setuptools=version), 'mim')
    assert result.status == 'warn' and '<81' in result.remedy
    assert not result.blocks


def test_mmcv_for_another_cuda_only_warns():
    result = find(
        with_probe('mmcv_cuda', 'RuntimeError: no kernel image'),
        'mmcv ops on CUDA')
    assert result.status == 'warn' and not result.blocks
    assert 'mmcv-lite' in result.remedy


def test_unsafe_loading():
    facts = HEALTHY._replace(
        environ=dict(HEALTHY.environ, TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD='1'))
    assert find(facts, 'unsafe loading').status == 'warn'


@pytest.mark.parametrize('environ, cpus, status', [
    ({
        'OMP_NUM_THREADS': '4'
    }, 4., 'ok'),
    ({
        'OMP_NUM_THREADS': '1'
    }, 0.5, 'ok'),
    ({
        'OMP_NUM_THREADS': '3'
    }, 2.5, 'warn'),
    ({
        'OMP_NUM_THREADS': 'many'
    }, 4., 'warn'),
    ({}, 4., 'info'),
])
def test_threads(environ, cpus, status):
    result = find(HEALTHY._replace(environ=environ, cpus=cpus), 'threads')
    assert result.status == status
    assert ('20 times' in result.found) == (status != 'ok')


def test_mim():
    assert find(with_versions(openmim=None), 'mim').status == 'warn'
    result = find(HEALTHY._replace(mim_configs=''), 'mim')
    assert result.status == 'warn' and 'PYTHONPATH=.' in result.remedy


@pytest.mark.parametrize('facts, status', [
    (HEALTHY, 0),
    (with_versions(mmcv='2.2.0'), 1),
    (with_probe('checkpoint'), 1),
    (HEALTHY._replace(environ={}, cpus=1.), 0),
])
def test_status_and_json_say_the_same(monkeypatch, capsys, facts, status):
    monkeypatch.setattr('lgm_pose_plugin.doctor.facts.collect_facts',
                        lambda: facts)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args(['--format', 'json'])) == status
    report = json.loads(capsys.readouterr().out)
    assert all(report[use] for use in ALL) == (status == 0)
    assert len(report['checks']) == len(diagnose(facts))
    assert command.run(parser.parse_args([])) == status
    text = capsys.readouterr().out
    assert text.count('remedy:') == sum(
        bool(check['remedy']) for check in report['checks'])
    yes = {True: 'yes', False: 'no'}
    assert text.splitlines()[-1] == ', '.join(f'{use}: {yes[report[use]]}'
                                              for use in ALL)


# Probes, in real processes


def fake_package(folder, name, **modules):
    """Write a package whose modules hold the given code."""
    package = folder / name
    package.mkdir(parents=True)
    for module, code in dict(dict(__init__=''), **modules).items():
        (package / f'{module}.py').write_text(textwrap.dedent(code))


def probe(monkeypatch, folder, *names, timeout=60):
    monkeypatch.setattr(sys, 'path', [str(folder)] + sys.path)
    return probes.run_probes(names, timeout)


def test_probes_outlive_what_they_run(tmp_path, monkeypatch):
    fake_package(
        tmp_path,
        'cv2',
        __init__='import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)')
    fake_package(tmp_path, 'mmdet', __init__='import sys\nsys.exit(3)')
    fake_package(
        tmp_path,
        'torch',
        __init__='import os, sys\nprint("bye", file=sys.stderr, flush=True)\n'
        'os._exit(0)')
    fake_package(
        tmp_path,
        'xtcocotools',
        _mask='',
        mask="raise ValueError('numpy.dtype size changed, may indicate binary "
        "incompatibility')")
    answers = probe(monkeypatch, tmp_path, 'opencv', 'mmdet', 'torch',
                    'xtcocotools')
    assert 'SIGSEGV' in answers['opencv'].text
    assert 'SystemExit: 3' in answers['mmdet'].text
    assert 'status 0) bye' in answers['torch'].text
    assert 'size changed' in answers['xtcocotools'].text
    assert not any(answer.ok for answer in answers.values())


def test_probes_that_hang_are_ended(tmp_path, monkeypatch):
    fake_package(tmp_path, 'mmdet', __init__='import time\ntime.sleep(60)')
    answers = probe(monkeypatch, tmp_path, 'mmdet', timeout=2)
    assert 'within 2 s' in answers['mmdet'].text


def run_doctor(tmp_path, *paths, **environ):
    root = os.path.dirname(os.path.dirname(lgm_pose_plugin.__file__))
    paths = [str(path) for path in paths] + [root]
    result = subprocess.run(
        [sys.executable, '-m', 'lgm_pose_plugin', 'doctor', '--format=json'],
        cwd=str(tmp_path),
        env=dict(
            os.environ,
            PYTHONPATH=os.pathsep.join(paths),
            OMP_NUM_THREADS='1',
            **environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    assert result.stdout, result.stderr.decode()
    report = json.loads(result.stdout.decode())
    return result.returncode, report, {c['name']: c for c in report['checks']}


@pytest.mark.promise('doctor')
@pytest.mark.e2e
def test_this_environment_is_healthy(tmp_path):
    status, report, checks = run_doctor(tmp_path)
    assert [c for c in report['checks'] if c['status'] == 'FAIL'] == []
    assert status == 0 and report['infer'] and report['train']
    assert 'MobileViM' in checks['plugin']['found']


@pytest.mark.promise('doctor')
def test_broken_environment(tmp_path):
    """Broken in many ways at once; torch cannot even be imported."""
    site = tmp_path / 'site'
    fake_package(
        site,
        'torch',
        __init__='import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)')
    fake_package(site, 'mmpose', __init__='raise ImportError("no mmpose")')
    fake_package(
        site, 'pycocotools', mask='raise ImportError("no pycocotools")')
    fake_package(site, 'xtcocotools', _mask='raise ValueError("size changed")')
    for name, version in (('mmcv', '2.2.0'), ('setuptools', '82.0.0'),
                          ('opencv-python', '4.12.0.88')):
        folder = site / f'{name.replace("-", "_")}-{version}.dist-info'
        folder.mkdir()
        (folder / 'METADATA').write_text(
            f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')
    status, report, checks = run_doctor(
        tmp_path, site, TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD='1')
    assert status == 1
    assert not (report['infer'] or report['test'] or report['train'])
    found = {name: check['found'] for name, check in checks.items()}
    assert '2.2.0' in found['mmcv'] and '<2.2' in found['mmcv']
    assert 'SIGSEGV' in found['torch runs']
    assert 'no pycocotools' in found['xtcocotools runs']
    assert '82.0.0' in found['mim']
    for name in ('mmcv', 'torch runs', 'xtcocotools runs', 'mmcv ops',
                 'mmdet imports', 'mmpose imports', 'plugin', 'checkpoints'):
        assert checks[name]['status'] == 'FAIL', name
        assert checks[name]['remedy'], name
    for name in ('opencv-python-headless', 'unsafe loading', 'mim'):
        assert checks[name]['status'] == 'warn', name
    # What is not broken is still reported as such.
    assert checks['opencv runs']['status'] == 'ok'
    assert checks['python']['status'] in ('ok', 'warn')
