"""The doctor tells what there is, and finds where CPU and GPU differ."""

import re
from unittest import mock

import numpy as np
import pytest
import stand_in
from references import host

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
    small = doctor.replace(doctor.PRESETS[doctor.DEFAULT], channels=2, hidden=8)
    monkeypatch.setattr(doctor, "PRESETS", {doctor.DEFAULT: small})


def test_with_a_gpu(gpu, capsys, short):
    assert doctor.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = "Python NumPy BLAS threads CuPy driver GPU memory check check check".split()
    assert [line.split()[0] for line in lines] == names
    assert lines[-3].startswith("check    agree, float32 products: 0.0")
    assert lines[-2].startswith("check    agree, CPU and GPU: within ")
    assert lines[-1] == "check    agree, a CUDA graph and its steps: the same bits"


def test_a_graph_that_does_something_else_is_found(gpu, capsys, short, monkeypatch):
    if gpu.__version__ != "stand-in":
        pytest.skip("a GPU's own graphs do what they are to do, or its doctor says so")
    launch = stand_in.Graph.launch
    monkeypatch.setattr(stand_in.Graph, "launch", lambda self: [launch(self), launch(self)])
    assert doctor.main([]) == 1
    assert (
        "DO NOT AGREE, a CUDA graph and its steps: no CUDA graph, as d_loss hangs on"
        in capsys.readouterr().out
    )


def test_what_a_graph_would_keep_is_found(gpu, capsys, short, monkeypatch):
    def counting(model, moved, step_for=doctor.step_for):
        step, calls = step_for(model, moved), []

        def call(*arrays):
            calls.append(arrays)
            values = step(*arrays)
            return values | {"d_loss": values["d_loss"] * len(calls)}

        return call

    monkeypatch.setattr(doctor, "step_for", counting)
    assert doctor.main([]) == 1
    assert (
        "DO NOT AGREE, a CUDA graph and its steps: no CUDA graph, as d_loss hangs on"
        in capsys.readouterr().out
    )


def test_products_of_tf32_are_found(gpu, capsys, short, monkeypatch):
    """Inputs of 10 bits, rounded as a GPU does, though float64 is as it should be."""
    plain = kernels.matmul

    def rounded(a):
        bits = host(a).view(np.int32).astype(np.int64) + (1 << 12) >> 13 << 13
        return gpu.asarray(bits.astype(np.int32).view(np.float32))

    def matmul(a, b):
        return plain(*(rounded(x) if x.dtype == np.float32 else x for x in (a, b)))

    monkeypatch.setattr(kernels, "matmul", matmul)
    monkeypatch.setattr(doctor, "graph_trouble", lambda *inputs: "")
    assert doctor.main([]) == 1
    out = capsys.readouterr().out
    assert re.search(r"DO NOT AGREE, float32 products: \d\d of the error", out)
    assert "    agree, CPU and GPU" in out


def test_a_difference_is_found(gpu, capsys, short, monkeypatch):
    adam = kernels.adam_update
    wrong = {"adam_update": lambda *a: adam(*a[:6], 0.9 * a[6])}
    monkeypatch.setattr(kernels, "VERSIONS", kernels.VERSIONS | wrong)
    assert doctor.main([]) == 1
    out, err = capsys.readouterr()
    assert "DO NOT AGREE" in out
    assert err == "doctor: CPU and GPU do not agree; train with --device cpu\n"
