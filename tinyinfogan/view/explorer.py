"""The explorer: a figure with a widget for each code.

In a notebook, after `%matplotlib widget`:

    explorer = Explorer(tinyinfogan.load("runs/mnist-1"), images)
"""

import itertools
from pathlib import Path

import numpy as np

from tinyinfogan.view.plots import FAINT, INK, in_colour, save_grid, tile
from tinyinfogan.view.traversals import grid

COLUMNS, ROWS = 5, 4  # a change is decoded and drawn within 50 ms on one core, default network
ACCENT, QUIET, HOVER = "#2f5fd0", "#eceff5", "#d5dcec"
WIDTH, LEFT, RIGHT = 11.0, 5.7, 10.7  # inches: of the figure, and where the controls are
BAR = 0.16  # inches: of the predicted mean of a continuous code


class Explorer:
    """A pyplot figure with a widget for each code, a grid of images, and Q's codes of real images.

    model: a trained `InfoGAN`.  images: real ones (N, H, W, C), uint8 or in [0, 1], or None.
    rng: numpy Generator of the noise, a fresh one by default.

    codes: {code name: value}, "all" for a category that runs over the grid.  sliders, buttons:
    the widgets, by code name, by (code name, category), by action.  Keep a reference to the
    explorer while its figure is in use, as Matplotlib asks of widgets.

    Raises ValueError for images of another shape than the model's.
    """

    def __init__(self, model, images=None, rng=None):
        import matplotlib.pyplot as plt

        self.model, self.spec = model, model.spec
        self.images, self.index = images, 0
        self.rng = np.random.default_rng() if rng is None else rng
        self.codes = {code.name: 0 if code.size else 0.0 for code in self.spec.codes}
        if self.spec.categorical:
            self.codes["c0"] = "all"
        self.drawn = self.spec.sample(COLUMNS * ROWS, self.rng)
        self.sliders, self.buttons = {}, {}

        controls = sum(1.0 if code.size else 0.45 for code in self.spec.codes)
        below = 1.3 if images is None else 3.3 + max(0, BAR * self.spec.continuous - 0.5)
        self.height = max(5.2, controls + below)
        self.figure = plt.figure(figsize=(WIDTH, self.height), facecolor="white")
        self.figure.canvas.mpl_connect("key_press_event", self._on_key)
        self._text(0.3, 0.45, "What does each code do?", 15, INK, weight="bold")
        self._text(0.3, 0.7, f"preset {model.settings.preset}; each image has noise of its own")
        picture = tile(np.ones((COLUMNS * ROWS, *model.image_shape)), COLUMNS)
        self.grid = self._picture(0.3, 0.9, 5.0, self.height - 1.2, picture)
        self.grid.axes.set_anchor("NW")
        top = self._add_controls()
        if images is not None:
            self._add_real(top)
            self.predict()
        self.update()

    def latents(self, n, codes=None):
        """Return latents (n, dim): the present noise with `codes`, by default the chosen ones."""
        latents = self.drawn[:n].copy()
        for code in self.spec.codes:
            value = (codes or self.codes)[code.name]
            value = np.arange(n) % code.size if value == "all" else value
            self.spec.set_code(latents, code.name, value)
        return latents

    def update(self, *changed):
        """Decode and draw the grid and the real image's reconstruction; draw `changed` axes too."""
        self.generated = self.model.decode(self.latents(COLUMNS * ROWS))
        self.grid.set_data(in_colour(tile(self.generated, COLUMNS)))
        if self.images is not None:
            self.reconstructed = self.model.decode(self.latents(1, self.predicted))[0]
            self.reconstruction.set_data(in_colour(self.reconstructed))
            changed += (self.reconstruction.axes,)
        canvas = self.figure.canvas
        if not hasattr(canvas, "buffer_rgba"):  # not one of the Agg canvases
            return canvas.draw_idle()
        # Drawing the whole figure takes several times as long.  What is drawn alone here hides what
        # was there before.
        for axes in (self.grid.axes, *changed):
            self.figure.draw_artist(axes)
        canvas.blit(self.figure.bbox)

    def choose(self, name, value):
        """Give a code a value: a category or "all", or a number."""
        self.codes[name] = value
        self.update(*([self.sliders[name].ax] if name in self.sliders else self._mark(name)))

    def _mark(self, name):
        """Show which button of a code is chosen.  Return the axes of all of them."""
        row = [(key[1], button) for key, button in self.buttons.items() if key[0] == name]
        for value, button in row:
            chosen = value == self.codes[name]
            button.color, button.hovercolor = (ACCENT, ACCENT) if chosen else (QUIET, HOVER)
            button.ax.set_facecolor(button.color)
            button.label.set_color("white" if chosen else INK)
        return [button.ax for _, button in row]

    def new_noise(self, _=None):
        """Draw other noise for every image."""
        self.drawn = self.spec.sample(COLUMNS * ROWS, self.rng)
        self.update()

    def next_image(self, _=None):
        """Go on to the next real image."""
        if self.images is not None:
            self.index = (self.index + 1) % len(self.images)
            self.predict()
            self.update()
            self.figure.canvas.draw_idle()

    def predict(self):
        """Show the present real image and its codes, as Q predicts them: self.predicted."""
        image = self.images[self.index]
        self.real.set_data(in_colour(image))
        encoding = self.model.encode(image[None])
        probabilities, means = [p[0] for p in encoding.probabilities], encoding.means[0].tolist()
        values = [*(int(p.argmax()) for p in probabilities), *means]
        self.predicted = {f"c{i}": value for i, value in enumerate(values)}
        for bar, probability in zip(self.bars, itertools.chain(*probabilities)):
            bar.set_height(probability)
        for bar, mean in zip(self.mean_bars, means):
            bar.set_width(mean)

    def use_codes(self, _=None):
        """Give the whole grid the codes of the real image (the sliders end at -2 and 2)."""
        for name, value in self.predicted.items():
            if name in self.sliders:
                self.sliders[name].set_val(value)
            else:
                self.choose(name, value)

    def save(self, _=None):
        """Write the grid to the next free explore-N.png of the working folder, and say so."""
        names = (f"explore-{number}.png" for number in itertools.count(1))
        name = next(name for name in names if not Path(name).exists())
        try:
            save_grid(name, self.generated, COLUMNS)
            self.message.set_text(f"saved {name}")
        except OSError as error:
            self.message.set_text(f"cannot write {name}: {error.strerror}")
        self.figure.canvas.draw_idle()

    def _on_key(self, event):
        keys = {"n": self.new_noise, "i": self.next_image}
        if event.key in keys:
            keys[event.key]()

    # --- what is where, in inches from the left and the top ---------------------------------------

    def _axes(self, left, top, width, height):
        box = left / WIDTH, 1 - (top + height) / self.height, width / WIDTH, height / self.height
        axes = self.figure.add_axes(box)
        axes.set_navigate(False)
        return axes

    def _picture(self, left, top, width, height, picture, title=None):
        axes = self._axes(left, top, width, height)
        axes.axis("off")
        axes.set_title(title, fontsize=9, color=FAINT, pad=4)
        return axes.imshow(in_colour(picture), interpolation="nearest")

    def _text(self, left, top, text, fontsize=9, color=FAINT, **style):
        x, y = left / WIDTH, 1 - top / self.height
        return self.figure.text(x, y, text, fontsize=fontsize, color=color, **style)

    def _button(self, key, box, label, action, points=9):
        from matplotlib.widgets import Button

        button = Button(self._axes(*box), label, color=QUIET, hovercolor=HOVER, useblit=True)
        button.label.set_fontsize(points)
        button.ax.spines[:].set_visible(False)
        button.on_clicked(action)
        self.buttons[key] = button

    def _add_controls(self):
        """Add the widgets of all codes, and below them the buttons; return where these end."""
        top = 0.25
        for code in self.spec.codes:
            (self._add_categories if code.size else self._add_slider)(code, top)
            top += 1.0 if code.size else 0.45
        top += 0.1
        self._button("noise", (LEFT, top, 1.6, 0.34), "New noise (n)", self.new_noise)
        self._button("save", (LEFT + 1.7, top, 1.6, 0.34), "Save the grid", self.save)
        self.message = self._text(LEFT, top + 0.55, "")
        return top + 0.95

    def _add_slider(self, code, top):
        from matplotlib.patches import Rectangle
        from matplotlib.widgets import Slider

        axes = self._axes(LEFT + 0.4, top, RIGHT - LEFT - 1.0, 0.3)
        style = {"valfmt": "%.2f", "color": ACCENT, "initcolor": "none"}
        slider = Slider(axes, code.name, -2, 2, valinit=0, **style)
        slider.drawon = False
        # Hides the number of before, which stands beside the axes.
        cover = {"color": "white", "clip_on": False, "zorder": -1}
        axes.add_patch(Rectangle((-0.2, -0.3), 1.4, 1.6, transform=axes.transAxes, **cover))
        slider.on_changed(lambda value: self.choose(code.name, value))
        self.sliders[code.name] = slider

    def _add_categories(self, code, top):
        self._text(LEFT, top + 0.67, code.name, 10, INK)
        left, cell = LEFT + 0.4, (RIGHT - LEFT - 0.4) / (code.size + 1)
        side = 0.9 * cell
        points = min(9, 100 * side / len(str(code.size)))
        for place, value in enumerate(["all", *range(code.size)]):
            box = (left + place * cell, top + 0.5, side, 0.28)
            key = (code.name, value)
            self._button(key, box, str(value), lambda _, key=key: self.choose(*key), points)
        self._mark(code.name)
        # A picture above each button, all with the same noise.
        zeros = self.latents(1, dict.fromkeys(self.codes, 0))
        (pictures,) = grid(self.model, zeros, code.name, range(code.size))
        for place, picture in enumerate(pictures, start=1):
            self._picture(left + place * cell, top, side, 0.45, picture).axes.set_anchor("S")

    def _add_real(self, top):
        blank = np.zeros(self.model.image_shape)
        self.real = self._picture(LEFT, top, 1.1, 1.1, blank, "a real image")
        left, below = LEFT + 1.2, top + 1.25
        self.reconstruction = self._picture(left, top, 1.1, 1.1, blank, "from its codes")
        self._button("next", (LEFT, below, 1.1, 0.34), "Next image (i)", self.next_image)
        self._button("use", (left, below, 1.1, 0.34), "Use its codes", self.use_codes)

        self.bars, self.mean_bars = [], []
        sizes, depth = self.spec.categorical, BAR * self.spec.continuous
        height = max(0.7, 1.2 - depth) if depth else 1.4
        if sizes:
            axes = self._bar_axes(top, height, "its category")
            for i, size in enumerate(sizes):
                places = np.arange(size) + sum(sizes[:i]) + i
                self.bars += axes.bar(places, 0, color=f"C{i}" if i else ACCENT)
            axes.set_ylim(0, 1)
            if len(sizes) == 1 and size <= 12:
                axes.set_xticks(places)
        if depth:
            names = [code.name for code in self.spec.codes if code.size is None]
            axes = self._bar_axes(top + (height + 0.35 if sizes else max(0, 1.55 - depth)), depth)
            self.mean_bars = axes.barh(names, np.zeros(len(names)), color=ACCENT, height=0.7)
            axes.set_xlim(-2, 2)
            axes.axvline(0, color=FAINT, linewidth=0.8)
            axes.set_xticks([-2, -1, 0, 1, 2])
            axes.set_yticks(range(len(names)), names)
            axes.invert_yaxis()

    def _bar_axes(self, top, height, title=None):
        axes = self._axes(LEFT + 2.7, top, RIGHT - LEFT - 2.7, height)
        axes.set_title(title, fontsize=9, color=FAINT, pad=4)
        axes.tick_params(length=0, labelsize=8, colors=FAINT)
        axes.set_yticks([])
        axes.spines[["top", "left", "right"]].set_visible(False)
        return axes
