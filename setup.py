"""Packaging: what is imported, and the extras."""

from setuptools import find_packages, setup

setup(
    name="tinyinfogan",
    version="0.1.0",
    description="InfoGAN from scratch on NumPy or CuPy, with its own tiny autograd engine",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["tinyinfogan", "tinyinfogan.*"]),
    package_data={"tinyinfogan": ["trained/*"], "tinyinfogan.view": ["page.html"], "tinyinfogan.data": ["mnist/*"]},
    install_requires=["numpy>=2", "threadpoolctl", "matplotlib", "tqdm", "pillow"],
    extras_require={
        "test": ["pytest", "ruff", "hypothesis", "scipy", "scikit-learn", "tornado",
                 "mpi4py; sys_platform == 'linux'", "mpich; sys_platform == 'linux'"],
        "evaluate": ["scikit-learn"],
        "web": ["tornado"],
        "bench": ["torch", "jax"],
        "docs": ["sphinx", "sphinx-gallery", "furo", "myst-parser", "sphinx-mathjax-offline"],
        "mpi": ["mpi4py"],
        "cuda12": ["cupy-cuda12x[ctk]>=14"],
        "cuda13": ["cupy-cuda13x[ctk]>=14"],
    },
)
