"""Adapter from the inputs and outputs of any SavedModel to the interface of an embedding network.

The interface maps (B, H, W, 3) float32 pictures in [0, 1] to (B, D) float32 features. Inputs of other number
types, with channels first, or of one picture at a time are converted, and feature maps are averaged. What
cannot be converted is a ValueError of one line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

# The output that the common signature of TF Hub defines.
DEFAULT_OUTPUT = "default"


class ModuleAdapter:
    """A SavedModel as a function from (B, H, W, 3) float32 pictures in [0, 1] to (B, D) float32 features.

    pooling: after the first call, how a feature map is reduced, such as "mean over 7 x 7"; "" for none.
    """

    def __init__(self, tf: Any, module: Any, size_px: tuple[int, int], output_name: str = "") -> None:
        """module: as loaded by `hub.load`; callable, or with the signature `serving_default`.

        output_name: the output to use where there are several. Raises ValueError for a module that does not
        take pictures of this size.
        """
        self.pooling = ""
        self._tf, self._output_name = tf, output_name
        self._module, spec = _find_entry(tf, module)
        dimensions = [None] * 4 if spec is None else _dimensions(spec)
        self._dtype = tf.float32 if spec is None else spec.dtype
        self._is_channels_first = dimensions[1] == 3 and dimensions[3] != 3
        _check_size(dimensions[2:4] if self._is_channels_first else dimensions[1:3], size_px)
        if dimensions[0] not in (None, 1):
            raise ValueError(f"it takes batches of exactly {dimensions[0]} pictures")
        self._takes_one = dimensions[0] == 1

    def __call__(self, images: Any) -> Any:
        """Return the features of pictures. Raises ValueError for outputs that are no vectors."""
        if not self._takes_one:
            return self._embed(images)
        return self._tf.map_fn(
            lambda picture: self._embed(picture[self._tf.newaxis])[0],
            images,
            fn_output_signature=self._tf.float32,
        )

    def _embed(self, images: Any) -> Any:
        pictures = _convert_numbers(self._tf, images, self._dtype)
        if self._is_channels_first:
            pictures = self._tf.transpose(pictures, [0, 3, 1, 2])
        return self._pool(_select_output(self._module(pictures), self._output_name))

    def _pool(self, output: Any) -> Any:
        """Return (B, D) features; a feature map (B, h, w, D), or (B, D, h, w), is averaged over h and w."""
        features = self._tf.cast(output, self._tf.float32)
        if features.shape.rank == 4:
            axes = [2, 3] if self._is_channels_first else [1, 2]
            sides = [features.shape[axis] for axis in axes]
            if sides != [1, 1]:
                self.pooling = f"mean over {' x '.join('?' if side is None else str(side) for side in sides)}"
            features = self._tf.reduce_mean(features, axes)
        if features.shape.rank != 2 or features.shape[-1] is None:
            raise ValueError(f"its output has shape {output.shape}, not (B, D)")
        return features


def _find_entry(tf: Any, module: Any) -> tuple[Callable[[Any], Any], Any]:
    """Return the function to call with pictures, and the TensorSpec of its argument, None if unknown."""
    if callable(module):
        functions = getattr(getattr(module, "__call__", None), "concrete_functions", ())  # noqa: B004
        specs = [spec for function in functions for spec in _picture_specs(tf, function)]
        return module, next(iter(sorted(specs, key=_preference)), None)
    signature = getattr(module, "signatures", {}).get("serving_default")
    if signature is None:
        raise ValueError("it is not callable and has no default signature")
    arguments = signature.structured_input_signature[1]
    if len(arguments) != 1:
        raise ValueError(f"it takes several inputs ({', '.join(sorted(arguments))}), not pictures alone")
    [(name, spec)] = arguments.items()
    return lambda pictures: signature(**{name: pictures}), spec


def _picture_specs(tf: Any, function: Any) -> list[Any]:
    """Return the spec of a function's only tensor argument, if it has one."""
    specs = [spec for spec in tf.nest.flatten(function.structured_input_signature) if _is_spec(tf, spec)]
    return specs if len(specs) == 1 else []


def _is_spec(tf: Any, value: Any) -> bool:
    return isinstance(value, tf.TensorSpec)


def _preference(spec: Any) -> tuple[bool, bool]:
    """Order specs: float32 before other types, a free batch size before a fixed one."""
    rank = spec.shape.rank
    return spec.dtype.name != "float32", rank == 4 and spec.shape[0] is not None


def _dimensions(spec: Any) -> list[int | None]:
    """Return the four dimensions of a picture input. Raises ValueError for any other input."""
    if not (spec.dtype.is_floating or spec.dtype.is_integer):
        raise ValueError(f"its input is {spec.dtype.name}, not pixels")
    if spec.shape.rank is None:
        return [None, None, None, None]
    if spec.shape.rank != 4:
        raise ValueError(f"its input has shape {spec.shape}, not (B, H, W, 3)")
    dimensions: list[int | None] = spec.shape.as_list()
    if 3 not in (dimensions[1], dimensions[3]) and None not in (dimensions[1], dimensions[3]):
        raise ValueError(f"its input has shape {spec.shape}, without three channels")
    return dimensions


def _check_size(sides: Sequence[int | None], size_px: tuple[int, int]) -> None:
    if all(side in (None, expected) for side, expected in zip(sides, size_px, strict=True)):
        return
    height, width = sides
    remedy = f": use --image-size {height}" if height == width else ", which is not square"
    raise ValueError(f"it takes pictures of {height} x {width} pixels{remedy}")


def _convert_numbers(tf: Any, images: Any, dtype: Any) -> Any:
    """Return pictures in [0, 1] as the number type of an input; integers are 0 to 255."""
    return tf.cast(tf.round(images * 255.0), dtype) if dtype.is_integer else tf.cast(images, dtype)


def _select_output(output: Any, name: str) -> Any:
    """Return the output with this name, or the only one. Raises ValueError where the choice is open."""
    if isinstance(output, (list, tuple)):
        output = {str(number): tensor for number, tensor in enumerate(output)}
    if not isinstance(output, Mapping):
        if name:
            raise ValueError(f"it has one output without a name, so --model-output {name} does not apply")
        return output
    listed = ", ".join(sorted(output))
    if name:
        if name not in output:
            raise ValueError(f"it has no output {name!r}; there are: {listed}")
        return output[name]
    if len(output) > 1 and DEFAULT_OUTPUT not in output:
        raise ValueError(f"it has several outputs ({listed}): choose one with --model-output")
    return output[DEFAULT_OUTPUT] if DEFAULT_OUTPUT in output else next(iter(output.values()))
