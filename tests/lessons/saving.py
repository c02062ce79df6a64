"""A backend of Matplotlib without a screen, whose show() saves each figure as 1.png, 2.png, ..."""

from itertools import count

from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

numbers = count(1)


class FigureManager(FigureManagerBase):
    @classmethod
    def pyplot_show(cls, *, block=None):
        from matplotlib import pyplot

        for number in pyplot.get_fignums():
            pyplot.figure(number).savefig(f"{next(numbers)}.png", dpi=80)
        pyplot.close("all")


class FigureCanvas(FigureCanvasAgg):
    manager_class = FigureManager
