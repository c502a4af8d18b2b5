"""Any SavedModel of TF Hub's image feature vector interface, made as fast as can be.

Its variables are frozen into constants, so that whatever depends on them alone is computed once. One that
turns out to hold a BiT is drawn natively instead, if both give the same vectors: the graph on the Hub
normalises groups in a dozen operations where three do.

The interface: float32 pictures in [0, 1], (B, H, W, 3), in; (B, D) features out
(www.tensorflow.org/hub/common_saved_model_apis/images).
"""

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

from vitrine.indexer.errors import ModelUnavailable
from vitrine.indexer.models.bit import freeze_weights
from vitrine.indexer.models.bit_weights import BitWeights
from vitrine.indexer.models.model import ModelSource, preprocessing_spec
from vitrine.indexer.models.runtime import FrozenNet, Threads, freeze, import_tensorflow

IMAGE_SIZE_PX = 224
VALUE_RANGE = (0.0, 1.0)
MARKER = "saved_model.pb"

_SAME = 1 - 1e-5  # cosine of two computations of one network


def is_saved_model(folder: Path) -> bool:
    """Say whether a folder holds a SavedModel."""
    return (folder / MARKER).is_file()


def saved_model_spec(image_size_px: int | None = None) -> str:
    """Return the preprocessing of the interface, squashed to a square."""
    return preprocessing_spec(image_size_px or IMAGE_SIZE_PX, VALUE_RANGE)


def load_net(source: ModelSource, threads: Threads | None = None) -> FrozenNet:
    """Load a folder with `hub.load` and return it ready to embed.

    Raises ModelUnavailable when it is not a feature extractor of the interface, or of another picture size.
    """
    tf = import_tensorflow()
    hub = _import_hub()
    try:
        module = hub.load(str(source.path))
    except Exception as error:  # TensorFlow raises anything from OSError to its own OpError
        raise ModelUnavailable(
            f"{source.path}: TensorFlow cannot load it ({_first_line(error)}); remove it and fetch it again"
        ) from error
    height, width = source.size_px
    images = tf.TensorSpec([None, height, width, 3], tf.float32)
    try:
        function = _concrete(tf, module, images)
        native = _native_bit(tf, function, source, threads)
        if native is not None:
            return native
        frozen = _freeze_variables(function)
    except Exception as error:
        raise ModelUnavailable(
            f"{source.path} does not turn {height} x {width} pictures into vectors ({_first_line(error)}); "
            "a model of another picture size needs --image-size"
        ) from error
    return freeze(
        lambda x, _: _import_graph(tf, frozen, x), source.size_px, source.value_range, threads=threads
    )


def _native_bit(tf: Any, function: Any, source: ModelSource, threads: Threads | None) -> FrozenNet | None:
    """Return the native network of a BiT's variables, if that is what they are and it computes the same."""
    named = {variable.name.split(":")[0]: variable for variable in function.variables}
    official = {name[name.find("resnet/") :]: v.numpy() for name, v in named.items() if "resnet/" in name}
    try:
        weights = BitWeights(official)
    except ModelUnavailable:
        return None
    net = freeze_weights(weights, source.size_px, threads)
    pictures = np.random.default_rng(0).integers(0, 256, (2, *source.size_px, 3), np.uint8)
    features = function(tf.constant(pictures / np.float32(255))).numpy()
    expected = features / np.linalg.norm(features, axis=1, keepdims=True)
    if expected.shape[1] == net.dimension and np.sum(expected * net.embed(pictures), axis=1).min() > _SAME:
        return net
    net.close()
    return None


def _concrete(tf: Any, module: Any, images: Any) -> Any:
    """Return the concrete function of the module's call, or of its default signature."""
    if callable(module):
        call = module
    elif "serving_default" in getattr(module, "signatures", {}):
        call = _signature_call(module.signatures["serving_default"])
    else:
        raise ValueError("it has neither a call nor a default signature")
    function = tf.function(lambda x: _features(call(x)))
    return function.get_concrete_function(images)


def _signature_call(signature: Any) -> Any:
    (name,) = signature.structured_input_signature[1]
    return lambda images: signature(**{name: images})


def _features(answer: Any) -> Any:
    """Return the one (B, D) tensor of an answer; a signature answers with a dictionary."""
    if isinstance(answer, dict):
        answer = answer.get("default", next(iter(answer.values())))
    if answer.shape.rank == 4:
        answer = answer[:, 0, 0, :]
    if answer.shape.rank != 2 or answer.shape[-1] is None:
        raise ValueError(f"it answers with shape {answer.shape}, not (B, D)")
    return answer


def _freeze_variables(function: Any) -> Any:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(function, lower_control_flow=False)


def _import_graph(tf: Any, frozen: Any, images: Any) -> Any:
    (pixels,) = frozen.inputs
    (features,) = frozen.outputs
    graph_def = frozen.graph.as_graph_def()
    (answer,) = tf.graph_util.import_graph_def(
        graph_def, input_map={pixels.name: images}, return_elements=[features.name], name=""
    )
    answer.set_shape([None, features.shape[-1]])
    return answer


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__


def _import_hub() -> Any:
    """Import tensorflow_hub, which asks for one function of a package that setuptools no longer brings.

    tensorflow_hub 0.16.1, the last one, imports pkg_resources to compare two version numbers;
    setuptools 82 removed it. Where it is missing, a stand-in with that function is lent for the import.
    """
    if "tensorflow_hub" in sys.modules:
        return sys.modules["tensorflow_hub"]
    lent = importlib.util.find_spec("pkg_resources") is None
    if lent:
        from packaging.version import parse

        stand_in = types.ModuleType("pkg_resources")
        stand_in.parse_version = parse  # type: ignore[attr-defined]
        sys.modules["pkg_resources"] = stand_in
    try:
        import tensorflow_hub
    finally:
        if lent:
            sys.modules.pop("pkg_resources", None)
    return tensorflow_hub
