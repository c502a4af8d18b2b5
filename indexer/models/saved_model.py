"""SavedModel loader for the image feature vector interface of TF Hub.

Variables are frozen to constants, so that operations on variables alone are computed once. If the variables
are those of a BiT and the vectors agree, the native network is used instead: the graph on TF Hub needs a
dozen operations for a group normalisation, the native one three.

The interface maps float32 pictures in [0, 1], (B, H, W, 3), to (B, D) features
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
from vitrine.indexer.models.model import ModelSource, build_preprocessing
from vitrine.indexer.models.module_adapter import ModuleAdapter
from vitrine.indexer.models.runtime import FrozenNetwork, Threads, freeze, import_tensorflow

IMAGE_SIZE_PX = 224
VALUE_RANGE = (0.0, 1.0)
GRAPH_FILE = "saved_model.pb"

_MIN_COSINE = 1 - 1e-5  # of the vectors of two implementations of the same network


def is_saved_model(folder: Path) -> bool:
    """Return True if a folder holds a SavedModel."""
    return (folder / GRAPH_FILE).is_file()


def saved_model_spec(image_size_px: int | None = None) -> str:
    """Return the preprocessing spec of the interface, with pictures resized to a square."""
    return build_preprocessing(image_size_px or IMAGE_SIZE_PX, VALUE_RANGE)


def load_network(source: ModelSource, threads: Threads | None = None) -> FrozenNetwork:
    """Load a SavedModel folder with `hub.load`.

    Raises ModelUnavailable if it does not have the interface or expects another picture size.
    """
    tf = import_tensorflow()
    hub = _import_hub()
    try:
        module = hub.load(str(source.path))
    except Exception as error:  # TensorFlow raises many types, from OSError to its own OpError
        raise ModelUnavailable(
            f"{source.path}: TensorFlow cannot load it ({_first_line(error)}); remove it and fetch it again"
        ) from error
    height, width = source.size_px
    images = tf.TensorSpec([None, height, width, 3], tf.float32)
    try:
        adapter = ModuleAdapter(tf, module, source.size_px, source.output)
        function = tf.function(adapter, autograph=False).get_concrete_function(images)
        native = _build_native_bit(tf, function, source, threads)
        if native is not None:
            return native
        frozen = _freeze_variables(function)
    except Exception as error:
        raise ModelUnavailable(
            f"{source.path} does not map {height} x {width} pictures to vectors: {_first_line(error)} "
            "(for a model of another picture size use --image-size)"
        ) from error
    network = freeze(
        lambda x, _: _import_graph(tf, frozen, x), source.size_px, source.value_range, threads=threads
    )
    network.pooling = adapter.pooling
    return network


def _build_native_bit(
    tf: Any, function: Any, source: ModelSource, threads: Threads | None
) -> FrozenNetwork | None:
    """Return the native network if the variables are those of a BiT and its vectors agree, else None."""
    by_name = {variable.name.split(":")[0]: variable for variable in function.variables}
    official = {
        name[name.find("resnet/") :]: value.numpy() for name, value in by_name.items() if "resnet/" in name
    }
    try:
        weights = BitWeights(official)
    except ModelUnavailable:
        return None
    network = freeze_weights(weights, source.size_px, threads)
    pictures = np.random.default_rng(0).integers(0, 256, (2, *source.size_px, 3), np.uint8)
    features = function(tf.constant(pictures / np.float32(255))).numpy()
    expected = features / np.linalg.norm(features, axis=1, keepdims=True)
    if (
        expected.shape[1] == network.dimension
        and np.sum(expected * network.embed(pictures), axis=1).min() > _MIN_COSINE
    ):
        return network
    network.close()
    return None


def _freeze_variables(function: Any) -> Any:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(function, lower_control_flow=False)


def _import_graph(tf: Any, frozen: Any, images: Any) -> Any:
    (pixels,) = frozen.inputs
    (features,) = frozen.outputs
    graph_def = frozen.graph.as_graph_def()
    (output,) = tf.graph_util.import_graph_def(
        graph_def, input_map={pixels.name: images}, return_elements=[features.name], name=""
    )
    output.set_shape([None, features.shape[-1]])
    return output


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__


def _import_hub() -> Any:
    """Import tensorflow_hub, with a stub of pkg_resources during the import if that is missing.

    tensorflow_hub 0.16.1, the latest release, imports pkg_resources to compare two version numbers, and
    setuptools 82 removed that package.
    """
    if "tensorflow_hub" in sys.modules:
        return sys.modules["tensorflow_hub"]
    is_missing = importlib.util.find_spec("pkg_resources") is None
    if is_missing:
        from packaging.version import parse

        stub = types.ModuleType("pkg_resources")
        stub.parse_version = parse  # type: ignore[attr-defined]
        sys.modules["pkg_resources"] = stub
    try:
        import tensorflow_hub
    finally:
        if is_missing:
            sys.modules.pop("pkg_resources", None)
    return tensorflow_hub
