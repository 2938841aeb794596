"""So much of Data-Juicer's `utils/lazy_loader.py` as operators ask for packages with."""

import importlib


class LazyLoader:
    @classmethod
    def _install_package(cls, package, pip_args=None):
        raise AssertionError(f"{package} would be installed")

    @classmethod
    def check_packages(cls, packages):
        for package in packages:
            try:
                # As there: a version that it asks for is taken for a part of the name.
                importlib.import_module(package)
            except ImportError:
                cls._install_package(package)
