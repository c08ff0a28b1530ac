module epro/bench/checks

go 1.25
