"""The exported page: its packed weights, and what it does in Chromium where there is one."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

import tinyinfogan
from tinyinfogan import data
from tinyinfogan.engine import Tensor, nn, no_grad, ops
from tinyinfogan.evaluation import clustering
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.settings import Settings
from tinyinfogan.infogan.variants.networks import UpsamplingConv2d
from tinyinfogan.infogan.variants.sprites import Lines
from tinyinfogan.view import page, traversals

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


def pack(model):
    return page.pack("the generator", model.generator.modules, (model.spec.dim,))


def pack_q(model):
    modules = model.discriminator.trunk.modules + model.discriminator.q_head.modules
    return page.pack("Q", modules, model.image_shape)


def run_packed(layers, weights, inputs):
    """A packed network by the package's own layers, with the rounded weights."""
    weights, used, x = weights.astype(np.float32), 0, Tensor(inputs)

    def take(*shape):
        nonlocal used
        used += (size := int(np.prod(shape)))
        return Tensor(weights[used - size : used].reshape(shape))

    if inputs.ndim == 2:
        x = ops.reshape(x, (len(inputs), 1, 1, -1))
    for layer in layers:
        kind, shape, C = layer["kind"], layer["shape"], x.shape[-1]
        if "kernel" in layer:
            weight, bias = take(*layer["kernel"], C, shape[2]), take(shape[2])
            if kind == "transposed":
                weight = ops.transpose(weight, (0, 1, 3, 2))
            convolution = ops.conv_transpose2d if kind == "transposed" else ops.conv2d
            x = convolution(x, weight, layer["stride"], layer["padding"]) + bias
        elif kind == "affine":
            x = x * take(C) + take(C)
        elif kind == "lines":
            x = Lines(*shape[:2])(ops.reshape(x, (len(inputs), C)))
        elif kind == "depth_to_space":
            x = DepthToSpace()(x)
        elif kind == "leaky_relu":
            x = ops.leaky_relu(x, layer["slope"])
        elif kind == "reshape":
            x = ops.reshape(x, (len(inputs), *shape))
        else:
            x = {"tanh": ops.tanh, "sigmoid": ops.sigmoid}[kind](x)
        assert list(x.shape[1:]) == shape
    assert used == len(weights)
    return x.numpy()


def sprites():
    """A narrow model of the sprites network, whose generator begins with lines."""
    settings = Settings("tiny", network="sprites", noise=2, categorical=(), channels=4, hidden=6)
    model = trained(settings, (32, 32, 1))
    norm = next(layer for layer in model.generator.modules if isinstance(layer, nn.BatchNorm))
    norm.gamma.data /= 4  # edges as steep as the preset begins with magnify what float16 rounds
    norm.beta.data /= 4
    return model


@pytest.mark.parametrize("make", [trained, with_every_layer, sprites])
def test_packed_weights_make_the_same_images(make, rng):
    model = make()
    latents = model.spec.sample(20, rng)
    layers, weights, _ = pack(model)
    with no_grad():
        packed = run_packed(layers, weights, latents)
    assert weights.dtype == np.float16
    assert np.abs(packed - model.decode(latents)).max() < 2 / 255
    assert np.ptp(packed, axis=0).max() > 0.1  # images that differ, so that this can fail


def test_the_page_is_one_small_file_without_addresses(tmp_path):
    model = tinyinfogan.load(device="cpu")
    snapshots = [("step 1", traversals.samples(model))] * 20
    size = page.export(tmp_path / "page.html", model, "</script>", snapshots)
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
        pack(model)
    model = trained()
    model.discriminator.q_head.modules[0].weight.data[0, 0] = 1e9
    with pytest.raises(page.ExportError, match="float16"):
        pack_q(model)


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
    return json.loads(html.unescape(found[1]))


@pytest.mark.parametrize("make", [trained, with_every_layer])
def test_the_page_s_images_are_ours(make, tmp_path, rng):
    """The page on the same latents, and its canvas after clicks, against the package's layers."""
    model = make()
    page.export(tmp_path / "page.html", model, "tiny")
    layers, weights, _ = pack(model)
    latents = model.spec.sample(6, rng)
    result = in_chromium(
        tmp_path / "page.html",
        f"""
        const images = Array.from(generate(Float32Array.from({latents.ravel().tolist()})));
        const pixels = () => Array.from(grid.getContext("2d").getImageData(0, 0, W, H).data);
        const grid = document.getElementById("grid"), slider = document.getElementById("c3");
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


def test_the_page_s_lines_are_ours(tmp_path, rng):
    model = sprites()
    page.export(tmp_path / "page.html", model, "lines")
    latents = model.spec.sample(3, rng)
    values = f"Float32Array.from({latents.ravel().tolist()})"
    theirs = in_chromium(tmp_path / "page.html", f"result = Array.from(generate({values}));")
    ours = model.decode(latents)
    assert np.abs(np.reshape(theirs, ours.shape) - ours).max() < 1 / 255


# --- drawing, and what Q reads --------------------------------------------------------------------


@pytest.fixture(scope="module")
def playground(tmp_path_factory):
    """The page of the model that comes with the package."""
    path = tmp_path_factory.mktemp("playground") / "page.html"
    page.export(path, tinyinfogan.load(device="cpu"), "digits")
    return path


def test_q_in_the_page_reads_what_the_package_reads(playground):
    images = data.load().test_images[:100].astype(np.float32) / 255
    result = in_chromium(
        playground,
        f"""
        const bytes = {json.dumps((255 * images).astype(int).reshape(100, -1).tolist())};
        result = bytes.map(image => encode(Float32Array.from(image, v => v / 255)));
    """,
    )
    assert isinstance(result, list), result
    ours = tinyinfogan.load().encode(images)
    probabilities = np.array([row["probabilities"][0] for row in result])
    means = np.array([row["means"] for row in result])
    assert np.abs(probabilities - ours.probabilities[0]).max() < 1e-3
    assert np.abs(means - ours.means).max() < 1e-3


def curve(*points):
    """A stroke through points, rounded: the quarters between them, twice (Chaikin 1974)."""
    for _ in range(2):
        a, b = np.array(points[:-1]), np.array(points[1:])
        inner = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], axis=1).reshape(-1, 2)
        points = [points[0], *inner, points[-1]]
    return np.array(points, float).tolist()


# In pixels of the page's square of 280; one is small and in a corner, one nearly fills it.
STROKES = [
    [
        curve(
            (140, 50), (85, 70), (75, 140), (90, 220), (140, 230), (200, 205), (200, 80), (140, 50)
        )
    ],
    [curve((35, 20), (32, 45), (28, 80))],
    [curve((85, 90), (110, 45), (185, 55), (180, 120), (85, 225)), curve((85, 225), (195, 222))],
    [
        curve((90, 65), (150, 40), (190, 80), (160, 125), (120, 135)),
        curve((120, 135), (180, 145), (195, 195), (150, 240), (85, 215)),
    ],
    [curve((105, 55), (90, 140)), curve((90, 140), (190, 140)), curve((180, 60), (165, 230))],
    [
        curve((185, 55), (110, 55)),
        curve((110, 55), (105, 125)),
        curve((105, 125), (160, 105), (195, 160), (165, 235), (90, 215)),
    ],
    [curve((190, 10), (60, 120), (60, 270), (160, 275), (205, 200), (150, 150), (75, 215))],
    [curve((85, 65), (190, 60)), curve((190, 60), (150, 140), (125, 230))],
    [
        curve((175, 75), (140, 40), (95, 80), (120, 125), (170, 155), (190, 205), (140, 240)),
        curve((140, 240), (90, 205), (115, 155), (165, 115), (175, 75)),
    ],
    [
        curve(
            (180, 90),
            (140, 45),
            (95, 85),
            (110, 145),
            (160, 135),
            (180, 90),
            (175, 150),
            (155, 230),
        )
    ],
]


def test_digits_drawn_as_strokes_are_read(playground):
    """By pointer events, as a hand draws: what the page shows is what it read."""
    result = in_chromium(
        playground,
        f"""
        let frame;
        requestAnimationFrame = f => {{ frame = f; }};
        const drawing = document.getElementById("drawing");
        drawing.setPointerCapture = () => {{}};
        function act(kind, [x, y]) {{
          const box = drawing.getBoundingClientRect(), scale = box.width / 280;
          const at = {{ clientX: box.left + x * scale, clientY: box.top + y * scale }};
          drawing.dispatchEvent(new PointerEvent(kind, at));
        }}
        const outputs = document.querySelectorAll("#bars output");
        const shown = () => Array.from(outputs, output => output.textContent);
        result = [];
        for (const digit of {json.dumps(STROKES)}) {{
          for (const stroke of digit) {{
            act("pointerdown", stroke[0]);
            for (const point of stroke.slice(1)) act("pointermove", point);
            act("pointerup", stroke[0]);
          }}
          frame();
          const label = drawing.getAttribute("aria-label"), read = shown();
          document.getElementById("take").click();
          const sliders = ["c1", "c2"].map(code => document.getElementById(code).value);
          const pressed = document.querySelector("#codes [aria-pressed=true]").textContent;
          document.getElementById("clear").click();
          result.push({{ label, read, sliders, pressed, cleared: shown() }});
        }}
    """,
    )
    assert isinstance(result, list), result
    names = clustering.code_table(tinyinfogan.load(), data.load(), 2000).assignment
    read = [
        int(re.search(r"reads c0 (\d+), c1 (\S+), c2 (\S+)", row["label"])[1]) for row in result
    ]
    right = [names[code] == digit for digit, code in enumerate(read)]
    assert sum(right) >= 8, [int(names[code]) for code in read]
    for code, row in zip(read, result):
        *shares, c1, c2 = row["read"]
        assert np.argmax([int(share[:-2]) for share in shares]) == code
        assert row["label"].endswith(f"c1 {c1}, c2 {c2}")
        assert np.abs(np.array(row["sliders"], float) - [float(c1), float(c2)]).max() <= 0.011
        assert row["pressed"] == str(code)
        assert not any(row["cleared"])


def mnist_form(ink):
    """Ink (H, W) fitted into 20×20 under triangles, its centre of mass on pixel (14, 14)."""

    def means(n, size):
        step = size / n
        away = abs(np.arange(size) + 0.5 - (np.arange(n)[:, None] + 0.5) * step)
        weights = np.maximum(1 - away / max(step, 1), 0)
        return weights / weights.sum(axis=1, keepdims=True)

    rows, columns = (np.flatnonzero((ink > 0.2).any(axis)) for axis in (1, 0))
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    h, w = (max(1, int(20 * size / max(box.shape) + 0.5)) for size in box.shape)
    small = means(h, box.shape[0]) @ box @ means(w, box.shape[1]).T
    centre = [small.sum(1) @ np.arange(h) / small.sum(), small.sum(0) @ np.arange(w) / small.sum()]
    y, x = (int(np.clip(14.5 - c, 0, 28 - n)) for c, n in zip(centre, (h, w)))
    image = np.zeros((28, 28))
    image[y : y + h, x : x + w] = small / small.max()
    return image


def test_the_page_brings_ink_into_mnist_s_form(playground, rng):
    """By the formula, whatever the size of the picture and wherever the ink."""
    digits = data.load().test_images[:3, :, :, 0] / 255
    wide = np.zeros((60, 90))
    wide[5:12, 3:80] = rng.uniform(0.3, 1, (7, 77))
    small = np.zeros((50, 50))
    small[40:45, 44:47] = 1
    inks = [*digits, np.pad(digits[0], ((9, 0), (0, 3))), np.kron(digits[1], np.ones((5, 5))), wide]
    inks += [small, np.zeros((9, 9))]
    result = in_chromium(
        playground,
        f"""
        result = {json.dumps([ink.tolist() for ink in inks])}.map(ink => {{
          const image = mnistForm((r, c) => ink[r][c], ink.length, ink[0].length);
          return image && Array.from(image);
        }});
    """,
    )
    assert isinstance(result, list), result
    *images, none = result
    assert none is None
    for ink, image in zip(inks, images):
        assert np.abs(np.reshape(image, (28, 28)) - mnist_form(ink)).max() < 1e-6


def test_a_slider_over_training_if_there_are_snapshots(tmp_path):
    model, path = trained(), tmp_path / "page.html"
    look = """
        requestAnimationFrame = f => f();
        const [play, training] = document.querySelectorAll("#tabs button");
        const $ = id => document.getElementById(id), tabs = !$("tabs").hidden, time = $("time");
        const texts = [], hidden = () => ["play", "training", "reading"].map(id => $(id).hidden);
        const before = hidden();
        training.click();
        for (const value of tabs ? [1, 0] : []) {
          time.value = value; time.dispatchEvent(new Event("input"));
          texts.push($("when").textContent);
        }
        const picture = $("snapshot").src.slice(0, 22);
        const during = hidden();
        play.click();
        result = { tabs, texts, picture, max: time.max, before, during, after: hidden() };
    """
    page.export(path, model, "tiny")
    assert in_chromium(path, look)["tabs"] is False
    images = traversals.samples(model)
    page.export(path, model, "tiny", [("step 10", images), ("<b>the end", images)])
    result = in_chromium(path, look)
    assert isinstance(result, dict), result
    assert result["tabs"] is True
    assert result["texts"] == ["<b>the end", "step 10"]
    assert result["picture"] == "data:image/png;base64,"
    assert result["max"] == "1"
    # No drawing either: the images of this model are of 8×8.
    assert result["before"] == result["after"] == [False, True, True]
    assert result["during"] == [True, False, True]
