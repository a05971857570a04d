"""What a scrape says, by name and labels."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector


def samples(*collectors: Collector) -> dict[str, float]:
    """Scrape these, in a registry of their own."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return dict(parse(generate_latest(registry)))


def parse(text: bytes) -> Iterator[tuple[str, float]]:
    """Each sample, as ``name{label=value,...}``, labels sorted."""
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            yield f"{sample.name}{{{labels}}}" if labels else sample.name, sample.value


def names(text: bytes) -> set[str]:
    """Families, as the text names them."""
    return {line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE")}
