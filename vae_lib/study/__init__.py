"""Many runs: their grid, their results, and what differs between them."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "grids": [
            *("STUDY_EVALUATION", "all_configs", "grid", "preset_comparisons", "shard", "showcase", "sweep"),
            "unique_configs",
        ],
        "runner": ["StudyPaths", "estimate", "run_study"],
        "results": ["by_run", "read_results", "runs_by_comparison"],
        "comparisons": ["compare_adjacent", "compare_cells", "compare_settings", "interval_table"],
        "findings": ["key_findings", "markdown_table"],
        "published": ["published_table"],
        "report": ["write_report"],
        "session": ["Session"],
        "summaries": [
            *("summarize_bits", "summarize_codes", "summarize_latent_size", "summarize_beta"),
            *("summarize_disentanglement", "summarize_priors", "summarize_labels", "summarize_families"),
            *("summarize_novelty", "summarize_training_length", "summarize_total_correlation"),
        ],
    },
)
