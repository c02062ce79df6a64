"""The exported page: its packed weights, and what it does in Chromium where there is one."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from tinyinfogan.engine import Tensor, nn, no_grad, ops
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.settings import Settings
from tinyinfogan.infogan.variants.networks import UpsamplingConv2d
from tinyinfogan.view import page

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
TINY = Settings("tiny", noise=3, categorical=(4, 3), continuous=2, channels=2, hidden=6)


def trained(settings=TINY, image_shape=(8, 8, 1), seed=0):
    """A model whose weights and running statistics are of ordinary size."""
    rng = np.random.default_rng(seed)
    model = InfoGAN(settings, image_shape, rng)
    for name, array in model.state_dict().items():
        array += (0.3 * rng.standard_normal(array.shape)).astype(np.float32)
        if name.endswith("running_var"):
            array[...] = np.abs(array) + 0.3
    return model


class Affine(nn.Module):
    """As FROM_TANH in the networks with a tanh."""

    scale, shift = 0.5, 0.5

    def forward(self, x):
        return x * self.scale + self.shift


class DepthToSpace(nn.Module):
    """(N, H, W, 4·C) -> (N, 2·H, 2·W, C)."""

    def forward(self, x):
        N, H, W, C = x.shape
        x = ops.transpose(ops.reshape(x, (N, H, W, 2, 2, C // 4)), (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (N, 2 * H, 2 * W, C // 4))


def with_every_layer():
    """A model of 8×8×3 whose generator has every kind of layer that is not in `trained`'s."""
    model = trained(image_shape=(8, 8, 3))
    rng = np.random.default_rng(4)
    model.generator = nn.Sequential(
        nn.Linear(model.spec.dim, 2 * 2 * 6, rng=rng),
        nn.LeakyReLU(0.2),
        nn.Reshape(2, 2, 6),
        UpsamplingConv2d(6, 8, rng=rng),
        nn.BatchNorm(8),
        DepthToSpace(),
        nn.Conv2d(2, 5, 3, padding=1, rng=rng),
        nn.Tanh(),
        nn.BatchNorm(5),
        nn.ConvTranspose2d(5, 4, (2, 3), stride=2, rng=rng),
        nn.BatchNorm(4),
        nn.ReLU(),
        nn.Conv2d(4, 3, (4, 5), stride=2, padding=1, rng=rng),
        nn.Tanh(),
        Affine(),
    )
    for name, array in model.generator.state_dict().items():
        array += (0.3 * rng.standard_normal(array.shape)).astype(np.float32)
        if name.endswith("running_var"):
            array[...] = np.abs(array) + 0.3
    return model


def run_packed(layers, weights, latents):
    """The packed generator by the package's own layers, with the rounded weights."""
    weights, used, x = weights.astype(np.float32), 0, Tensor(latents)

    def take(*shape):
        nonlocal used
        used += (size := int(np.prod(shape)))
        return Tensor(weights[used - size : used].reshape(shape))

    x = ops.reshape(x, (len(latents), 1, 1, -1))
    for layer in layers:
        kind, shape, C = layer["kind"], layer["shape"], x.shape[-1]
        if "kernel" in layer:
            weight, bias = take(*layer["kernel"], C, shape[2]), take(shape[2])
            if kind == "transposed":
                weight = ops.transpose(weight, (0, 1, 3, 2))
            convolution = ops.conv_transpose2d if kind == "transposed" else ops.conv2d
            x = convolution(x, weight, layer["stride"], layer["padding"]) + bias
        elif kind == "affine":
            numbers = x.shape[1:] if layer.get("places") else (C,)
            x = x * take(*numbers) + take(*numbers)
        elif kind == "depth_to_space":
            x = DepthToSpace()(x)
        elif kind == "leaky_relu":
            x = ops.leaky_relu(x, layer["slope"])
        elif kind == "reshape":
            x = ops.reshape(x, (len(latents), *shape))
        else:
            x = {"tanh": ops.tanh, "sigmoid": ops.sigmoid}[kind](x)
        assert list(x.shape[1:]) == shape
    assert used == len(weights)
    return x.numpy()


def sprites():
    """A narrow model of the sprites network, whose generator begins with places."""
    settings = Settings("tiny", network="sprites", noise=2, categorical=(), channels=4, hidden=6)
    return trained(settings, (32, 32, 1))


@pytest.mark.parametrize("make", [trained, with_every_layer, sprites])
def test_packed_weights_make_the_same_images(make, rng):
    model = make()
    latents = model.spec.sample(20, rng)
    layers, weights, _ = page.pack(model)
    with no_grad():
        packed = run_packed(layers, weights, latents)
    assert weights.dtype == np.float16
    assert np.abs(packed - model.decode(latents)).max() < 2 / 255
    assert np.ptp(packed, axis=0).max() > 0.1  # images that differ, so that this can fail


def test_the_page_is_one_small_file_without_addresses(tmp_path):
    settings = Settings("mnist", channels=32, hidden=256)
    size = page.export(tmp_path / "page.html", InfoGAN(settings, (28, 28, 1)), "</script>")
    text = (tmp_path / "page.html").read_text()
    assert size == (tmp_path / "page.html").stat().st_size < 6e6
    assert not re.search(r"https?:|src=|@import|url\(|fetch\(|XMLHttpRequest", text)
    assert text.count("</script>") == 3
    assert "{{" not in text


def test_layers_and_weights_that_a_page_cannot_hold():
    class Swish(nn.Module):
        def forward(self, x):
            return x * ops.sigmoid(x)

    model = trained()
    model.generator.modules.insert(3, Swish())
    with pytest.raises(page.ExportError, match="layer 3 of the generator, Swish"):
        page.pack(model)
    model = trained()
    model.generator.modules[0].weight.data[0, 0] = 1e9
    with pytest.raises(page.ExportError, match="float16"):
        page.pack(model)


def in_chromium(path, script):
    """Open the page at `path` with `script` added; return what the script puts into `result`."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    out = "document.body.append(Object.assign(document.createElement('pre'), {id: 'result', "
    out += "textContent: '<<' + JSON.stringify(result) + '>>'}))"
    added = f"<script>let result; try {{ {script} }} catch (e) {{ result = String(e) }}; {out}"
    copy = path.with_name("driven.html")
    copy.write_text(path.read_text().replace("</body>", f"{added}</script></body>"))
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        f"--user-data-dir={path.parent / 'profile'}",
        copy.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r'id="result">&lt;&lt;(.*?)&gt;&gt;', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    return json.loads(found[1])


@pytest.mark.parametrize("make", [trained, with_every_layer])
def test_the_page_s_images_are_ours(make, tmp_path, rng):
    """The page on the same latents, and its canvas after clicks, against the package's layers."""
    model = make()
    page.export(tmp_path / "page.html", model, "tiny")
    layers, weights, _ = page.pack(model)
    latents = model.spec.sample(6, rng)
    result = in_chromium(
        tmp_path / "page.html",
        f"""
        const images = Array.from(generate(Float32Array.from({latents.ravel().tolist()})));
        const pixels = () => Array.from(grid.getContext("2d").getImageData(0, 0, W, H).data);
        const slider = document.getElementById("c3");
        const buttons = document.querySelectorAll("fieldset")[0].querySelectorAll("button");
        const before = pixels();
        document.getElementById("noise").click(); update();
        const noisy = pixels();
        buttons[3].click();
        slider.value = 1.5; slider.dispatchEvent(new Event("input")); update();
        result = {{ images, before, noisy, after: pixels(), noise: Array.from(noise.slice(0, 3)),
                    pressed: Array.from(buttons, b => b.getAttribute("aria-pressed")),
                    label: grid.getAttribute("aria-label"), n: grid.width }};
    """,
    )
    assert isinstance(result, dict), result
    with no_grad():
        ours = run_packed(layers, weights, latents)
    theirs = np.reshape(result["images"], ours.shape)
    assert np.abs(theirs - ours).max() < 1 / 255
    assert result["pressed"] == ["false", "false", "false", "true", "false"]
    assert "c0 2" in result["label"]
    assert "c3 1.5" in result["label"]
    assert result["before"] != result["noisy"]
    latents = np.zeros((1, model.spec.dim), np.float32)
    latents[0, :3] = result["noise"]
    for name, value in {"c0": 2, "c1": 0, "c2": 0, "c3": 1.5}.items():
        model.spec.set_code(latents, name, value)
    with no_grad():
        first = run_packed(layers, weights, latents)[0]
    shown = np.reshape(result["after"], (8, 8, 4))[:, :, :3]
    assert np.abs(shown - 255 * first).max() <= 1
