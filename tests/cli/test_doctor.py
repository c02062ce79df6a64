"""The doctor tells what there is, and finds where CPU and GPU differ."""

from unittest import mock

import pytest

from tinyinfogan.cli import doctor
from tinyinfogan.engine.fast.cuda import kernels


def test_without_a_gpu(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "missing_for_cuda", lambda: "CuPy is not installed; install it")
    assert doctor.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["Python", "NumPy", "BLAS", "threads", "GPU"]
    assert lines[-1] == "GPU      none to use: CuPy is not installed; install it"


def test_a_full_disk_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "cpu_lines", mock.Mock(side_effect=OSError(28, "No space left")))
    assert doctor.main([]) == 1
    assert capsys.readouterr().err == "doctor: [Errno 28] No space left\n"


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(doctor, "compare", lambda compare=doctor.compare: compare(seconds=0))
    small = doctor.replace(doctor.PRESETS["mnist"], channels=2, hidden=8)
    monkeypatch.setattr(doctor, "PRESETS", {"small": small})


def test_with_a_gpu(gpu, capsys, short):
    assert doctor.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = "Python NumPy BLAS threads CuPy driver GPU memory check check".split()
    assert [line.split()[0] for line in lines] == names
    assert "CPU and GPU agree, small: within" in lines[-2]
    assert "a CUDA graph gives its steps' bits, small" in lines[-1]


def test_a_graph_that_does_something_else_is_found(gpu, capsys, short, monkeypatch):
    def twice(step, adams):
        return lambda *arrays: [step(*arrays), step(*arrays)][1]

    monkeypatch.setattr(doctor.graph, "replayed", twice)
    assert doctor.main([]) == 1
    assert "DIFFERS FROM ITS STEPS" in capsys.readouterr().out


def test_a_difference_is_found(gpu, capsys, short, monkeypatch):
    adam = kernels.adam_update
    wrong = {"adam_update": lambda *a: adam(*a[:6], 0.9 * a[6])}
    monkeypatch.setattr(kernels, "VERSIONS", kernels.VERSIONS | wrong)
    assert doctor.main([]) == 1
    out, err = capsys.readouterr()
    assert "DO NOT AGREE" in out
    assert err == "doctor: CPU and GPU do not agree; train with --device cpu\n"
