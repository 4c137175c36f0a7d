"""The backbone of a network: our own ResNet-10-T, or any of timm's models."""

from __future__ import annotations

from types import ModuleType
from typing import Any, cast

from torch import nn

from siame_se3.errors import ModelError
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.resnet import CHANNELS, STRIDES, ResNet10T

OWN = "resnet10t"


def backbone_of(config: NetworkConfig, takes_map: bool) -> tuple[nn.Module, int]:
    """A module images -> feature map of `config.stride` (or with `takes_map` False -> its pooled vector), and its channels.

    Raises:
        ModelError: no such backbone, no such stride, or timm is missing.
    """
    if config.backbone == OWN and not config.pretrained:
        return _own(config, takes_map)
    return _map_of_timm(config) if takes_map else _vector_of_timm(config)


def _own(config: NetworkConfig, takes_map: bool) -> tuple[nn.Module, int]:
    channels = 3 if config.colour else 1
    if not takes_map:
        return ResNet10T(channels), CHANNELS[-1]
    _check_stride(config, STRIDES)
    ResNet10T(channels, classes=1000)  # drawn and thrown away, as `_map_of_timm` does: a seed gives the same weights
    return ResNet10T(channels, config.stride, classes=1000), CHANNELS[STRIDES.index(config.stride)]


def _check_stride(config: NetworkConfig, strides: Any) -> None:
    if config.stride not in strides:
        raise ModelError(
            f"backbone '{config.backbone}' has no map of stride {config.stride}; it has {list(strides)}",
            "network.stride",
        )


def _timm(config: NetworkConfig) -> ModuleType:
    try:
        import timm
    except ImportError:
        wanted = f"the ImageNet weights of '{OWN}'" if config.backbone == OWN else f"backbone '{config.backbone}'"
        raise ModelError(
            f"{wanted} needs timm; pip install 'siame-se3[train]', or take backbone '{OWN}'", "network.backbone"
        ) from None
    return timm


def _create(config: NetworkConfig, **options: Any) -> nn.Module:
    """One of timm's models; its errors in one line."""
    timm = _timm(config)
    try:
        model: nn.Module = timm.create_model(config.backbone, in_chans=3 if config.colour else 1, **options)
    except (RuntimeError, AttributeError, TypeError) as error:
        if "Unknown model" in str(error):
            import difflib

            close = difflib.get_close_matches(config.backbone, timm.list_models(), 3)
            hint = f"did you mean {', '.join(close)}?" if close else "'timm.list_models()' names them"
            raise ModelError(f"unknown backbone '{config.backbone}'; {hint}", "network.backbone") from None
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"backbone '{config.backbone}' cannot be built: {reason}", "network.backbone") from None
    return model


def _vector_of_timm(config: NetworkConfig) -> tuple[nn.Module, int]:
    model = _create(config, pretrained=config.pretrained, num_classes=0, global_pool="avg")
    # VGG's is after its two linear layers
    features = getattr(model, "head_hidden_size", None) or model.num_features
    return model, int(cast(int, features))


def _map_of_timm(config: NetworkConfig) -> tuple[nn.Module, int]:
    probe = _create(config, pretrained=False, features_only=True)
    reductions = cast(Any, probe).feature_info.reduction()
    _check_stride(config, reductions)
    index = len(reductions) - 1 - reductions[::-1].index(config.stride)
    model = _create(config, pretrained=config.pretrained, features_only=True, out_indices=(index,))
    return model, int(cast(Any, model).feature_info.channels()[0])
