"""Many runs: their grid, their results, and what differs between them."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["summaries", "report"],
    submod_attrs={
        "grids": ["grid", "shard", "showcase", "all_configs", "STUDY_EVALUATION"],
        "runner": ["run_study"],
        "results": ["read_results", "by_run"],
        "comparisons": ["interval_table", "compare_adjacent", "as_markdown"],
        "findings": ["key_findings", "NAMES"],
    },
)
