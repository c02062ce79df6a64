"""Packaging: what is imported, the command, and the extras."""

import re
from pathlib import Path

from setuptools import find_packages, setup

source = (Path(__file__).parent / "tinyinfogan" / "__init__.py").read_text(encoding="utf-8")

setup(
    name="tinyinfogan",
    version=re.search(r'__version__ = "(.*)"', source).group(1),
    description="InfoGAN from scratch on NumPy or CuPy, with its own tiny autograd engine",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["tinyinfogan", "tinyinfogan.*"]),
    package_data={
        "tinyinfogan": ["trained/*", "results/*"],
        "tinyinfogan.data": ["mnist/*"],
        "tinyinfogan.engine.fast.cuda": ["kernels.cu"],
        "tinyinfogan.view": ["page.html", "lesson.mplstyle"],
    },
    entry_points={"console_scripts": ["tinyinfogan = tinyinfogan.cli.main:main"]},
    install_requires=["numpy>=2", "threadpoolctl", "matplotlib", "tqdm", "pillow"],
    extras_require={
        "test": [
            *("pytest", "ruff", "mypy", "hypothesis", "scipy", "scikit-learn", "tornado"),
            "safetensors",
            *("mpi4py; sys_platform == 'linux'", "mpich; sys_platform == 'linux'"),
        ],
        "evaluate": ["scikit-learn"],
        "cluster": ["scikit-learn>=1.6"],
        "safetensors": ["safetensors"],
        "svhn": ["scipy"],
        "web": ["tornado"],
        "bench": ["torch", "jax"],
        "docs": ["sphinx", "sphinx-gallery", "furo", "myst-parser", "sphinx-mathjax-offline"],
        "mpi": ["mpi4py"],
        "cuda12": ["cupy-cuda12x[ctk]>=14"],
        "cuda13": ["cupy-cuda13x[ctk]>=14"],
    },
)
