def write_figures(results, delta, figure, output): return []
