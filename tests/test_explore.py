"""The explorer, by driving its widgets; the exported page, in Chromium where there is one."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from tinyinfogan import checkpoint, explore, page
from tinyinfogan.engine import Tensor, nn, no_grad, ops, optim
from tinyinfogan.models import InfoGAN
from tinyinfogan.presets import Settings

matplotlib = pytest.importorskip("matplotlib")
TINY = Settings("tiny", noise=3, categorical=(4, 3), continuous=2, channels=2, hidden=6)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)  # fmt: skip


def trained(settings=TINY, image_shape=(8, 8, 1), seed=0):
    """A model whose weights and running statistics are of ordinary size."""
    rng = np.random.default_rng(seed)
    model = InfoGAN(settings, image_shape, rng)
    for name, array in model.state_dict().items():
        array += (0.3 * rng.standard_normal(array.shape)).astype(np.float32)
        if name.endswith("running_var"):
            array[...] = np.abs(array) + 0.3
    return model


@pytest.fixture()
def run(tmp_path):
    """A run's folder, trained on images.npz, which has twelve images of 8×8."""
    images = np.random.default_rng(1).integers(0, 256, (12, 8, 8), np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    model = trained()
    config = {"settings": asdict(TINY), "image_shape": [8, 8, 1], "seed": 0,
              "data": str(tmp_path / "images.npz")}  # fmt: skip
    adams = {name: optim.Adam(part.parameters(), 1e-3)
             for name, part in (("d_adam", model.discriminator), ("g_adam", model.generator))}
    (tmp_path / "run").mkdir()
    checkpoint.save(tmp_path / "run" / checkpoint.NAME, model, adams, 7, config)
    return tmp_path / "run"


# --- the figure -----------------------------------------------------------------------------------


@pytest.fixture()
def explorer():
    """An explorer with five real images, on a canvas without a screen."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    images = np.random.default_rng(2).integers(0, 256, (5, 8, 8, 1), np.uint8)
    yield explore.Explorer(trained(), images, np.random.default_rng(3))
    plt.close("all")


def click(button):
    """Press and release the mouse in the middle of a button."""
    from matplotlib.backend_bases import MouseEvent

    x, y = button.ax.transAxes.transform((0.5, 0.5))
    for name in ("button_press_event", "button_release_event"):
        canvas = button.ax.figure.canvas
        canvas.callbacks.process(name, MouseEvent(name, canvas, x, y, 1))


def shown(explorer):
    """The pixels of the grid as the figure shows them."""
    explorer.figure.canvas.draw()
    return np.asarray(explorer.grid.get_array()).copy()


def test_sliders_and_buttons_set_the_codes(explorer):
    before = shown(explorer)
    explorer.sliders["c2"].set_val(1.5)
    after = shown(explorer)
    assert (before != after).any()
    click(explorer.buttons["c0", 2])
    assert (shown(explorer) != after).any()
    click(explorer.buttons["c1", 1])
    assert explorer.codes == {"c0": 2, "c1": 1, "c2": 1.5, "c3": 0.0}
    latents = explorer.drawn.copy()
    for name, value in explorer.codes.items():
        explorer.spec.set_code(latents, name, value)
    np.testing.assert_array_equal(explorer.generated, explorer.model.decode(latents))
    click(explorer.buttons["c0", "all"])
    categories = explorer.latents(20)[:, 3:7].argmax(axis=1)
    np.testing.assert_array_equal(categories, np.arange(20) % 4)
    assert explorer.buttons["c0", "all"].color == explore.ACCENT
    assert explorer.buttons["c0", 2].color == explore.QUIET


def test_the_slider_shows_only_its_present_number(explorer):
    """A change redraws a part of the figure: the same pixels as drawing it all."""
    explorer.figure.canvas.draw()
    for value in (-1.93, 0.71):
        explorer.sliders["c2"].set_val(value)
    click(explorer.buttons["c0", 1])
    partly = np.asarray(explorer.figure.canvas.buffer_rgba()).copy()
    explorer.figure.canvas.draw()
    whole = np.asarray(explorer.figure.canvas.buffer_rgba())
    # Drawn twice, the smooth rim of a picture is a little darker; another digit would be black.
    assert np.abs(partly.astype(int) - whole).max() < 100


def test_new_noise_keeps_the_codes(explorer):
    before, codes = shown(explorer), dict(explorer.codes)
    click(explorer.buttons["noise"])
    assert (shown(explorer) != before).any()
    assert explorer.codes == codes


def test_a_real_image_its_codes_and_its_reconstruction(explorer):
    click(explorer.buttons["next"])
    image = explorer.images[1]
    encoding = explorer.model.encode(image[None])
    np.testing.assert_array_equal(explorer.real.get_array()[:, :, :1], image)
    heights = [bar.get_height() for bar in explorer.bars]
    np.testing.assert_allclose(heights, np.concatenate(encoding.probabilities, axis=1)[0])
    means = [bar.get_width() for bar in explorer.mean_bars]
    np.testing.assert_allclose(means, encoding.means[0])
    latents = explorer.drawn[:1].copy()
    for index, probabilities in enumerate(encoding.probabilities):
        explorer.spec.set_code(latents, f"c{index}", probabilities[0].argmax())
    for index, mean in enumerate(encoding.means[0]):
        explorer.spec.set_code(latents, f"c{2 + index}", mean)
    np.testing.assert_array_equal(explorer.reconstructed, explorer.model.decode(latents)[0])
    before = explorer.reconstructed
    click(explorer.buttons["noise"])
    assert (explorer.reconstructed != before).any()
    click(explorer.buttons["use"])
    assert explorer.codes["c0"] == encoding.probabilities[0].argmax()
    assert explorer.codes["c2"] == pytest.approx(np.clip(encoding.means[0, 0], -2, 2))


def test_keys_do_what_the_buttons_do(explorer):
    from matplotlib.backend_bases import KeyEvent

    before = explorer.generated
    for key in "in":
        event = KeyEvent("key_press_event", explorer.figure.canvas, key)
        explorer.figure.canvas.callbacks.process("key_press_event", event)
    assert explorer.index == 1
    assert (explorer.generated != before).any()


def test_saving_takes_the_next_free_name(explorer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        click(explorer.buttons["save"])
        with Image.open(tmp_path / f"explore-{number}.png") as picture:
            assert picture.width % (5 * 8 + 4 * 2) == 0
    assert explorer.message.get_text() == "saved explore-2.png"


@pytest.mark.parametrize("changes", [
    {"categorical": ()}, {"continuous": 0}, {"categorical": (10,) * 10, "continuous": 0},
])  # fmt: skip
def test_other_codes_and_colours(changes):
    matplotlib.use("Agg")
    model = trained(replace(TINY, **changes), (8, 12, 3))
    explorer = explore.Explorer(model, np.full((1, 8, 12, 3), 0.5, np.float32))
    explorer.figure.canvas.draw()
    assert len(explorer.sliders) == model.spec.continuous
    matplotlib.pyplot.close("all")


# --- the command ----------------------------------------------------------------------------------


def message_of(capsys, argv, status):
    """Run the command in this process; return its one line on stderr."""
    try:
        assert explore.main([str(word) for word in argv]) == status
    except SystemExit as stop:  # argparse
        assert stop.code == status
        return capsys.readouterr().err.strip().splitlines()[-1]
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_runs_that_cannot_be_explored(run, tmp_path, capsys):
    page_path = tmp_path / "page.html"
    for where in (tmp_path, tmp_path / "nothing"):
        assert str(where) in message_of(capsys, [where, "--export", page_path], 1)
    whole = (run / checkpoint.NAME).read_bytes()
    (run / checkpoint.NAME).write_bytes(whole[: len(whole) // 2])
    assert "not a whole checkpoint" in message_of(capsys, [run, "--export", page_path], 1)
    assert not page_path.exists()
    assert "RUN" in message_of(capsys, [], 2)


def test_arguments_that_cannot_be(run, tmp_path, capsys):
    argv = [run, "--export", tmp_path / "missing" / "page.html"]
    assert "cannot write" in message_of(capsys, argv, 1)
    assert "--image" in message_of(capsys, [run, "--export", "p.html", "--image", "i.png"], 2)
    assert "not allowed with" in message_of(capsys, [run, "--export", "p.html", "--web"], 2)


def test_without_a_screen(run, capsys, monkeypatch):
    matplotlib.use("Agg")
    message = message_of(capsys, [run], 2)
    assert "no screen" in message
    assert "--web" in message
    assert "--export" in message


def test_a_picked_image(run, tmp_path, capsys, monkeypatch):
    """--image comes first, the test images after it; a wrong size or file is one line."""
    import matplotlib.pyplot as plt

    made = []
    real = explore.Explorer
    monkeypatch.setattr(explore, "start_matplotlib", lambda web: matplotlib.use("Agg"))
    monkeypatch.setattr(plt, "show", lambda: None)
    monkeypatch.setattr(explore, "Explorer", lambda *inputs: made.append(real(*inputs)) or made[0])
    Image.new("RGB", (8, 8), (90, 90, 90)).save(tmp_path / "mine.png")
    assert explore.main([str(run), "--image", str(tmp_path / "mine.png")]) == 0
    assert made[0].images.shape == (13, 8, 8, 1)
    assert (made[0].images[0] == 90).all()
    Image.new("L", (9, 7)).save(tmp_path / "wide.png")
    message = message_of(capsys, [run, "--image", tmp_path / "wide.png"], 2)
    assert "9x7" in message
    assert "8x8" in message
    (tmp_path / "text.png").write_text("not an image")
    assert "text.png" in message_of(capsys, [run, "--image", tmp_path / "text.png"], 1)
    (tmp_path / "images.npz").unlink()  # the generator can be explored without the data
    assert "no test images" in message_of(capsys, [run], 0)
    plt.close("all")


def test_web_without_tornado_says_so(run, capsys, monkeypatch):
    def missing(name):
        raise ImportError("No module named 'tornado'")

    monkeypatch.setattr(matplotlib, "use", missing)
    assert "pip install tornado" in message_of(capsys, [run, "--web"], 2)


def test_importing_needs_no_matplotlib():
    code = "import sys, tinyinfogan.explore; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not {"cupy", "matplotlib", "PIL"} & set(output)


# --- the exported page ----------------------------------------------------------------------------


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
        nn.Linear(model.spec.dim, 4 * 4 * 8, rng=rng), nn.LeakyReLU(0.2),
        nn.Reshape(4, 4, 8), nn.BatchNorm(8), DepthToSpace(),
        nn.Conv2d(2, 5, 3, padding=1, rng=rng), nn.Tanh(), nn.BatchNorm(5),
        nn.ConvTranspose2d(5, 4, (2, 3), stride=2, rng=rng), nn.ReLU(),
        nn.Conv2d(4, 3, (4, 5), stride=2, padding=1, rng=rng), nn.Tanh(), Affine(),
    )  # fmt: skip
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
            x = x * take(C) + take(C)
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


@pytest.mark.parametrize("make", [trained, with_every_layer])
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
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
               f"--user-data-dir={path.parent / 'profile'}", copy.as_uri()]  # fmt: skip
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
    result = in_chromium(tmp_path / "page.html", f"""
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
    """)
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


def test_the_command_writes_a_page(run, tmp_path, capsys):
    assert explore.main([str(run), "--export", str(tmp_path / "page.html")]) == 0
    assert "MB" in capsys.readouterr().out
    text = (tmp_path / "page.html").read_text()
    assert "preset tiny, 7 training steps" in text
