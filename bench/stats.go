package main

import "slices"

// spread is the median and the range of some values.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf summarizes values; without values all fields are 0.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	median := sorted[mid]
	if len(sorted)%2 == 0 {
		median = (sorted[mid-1] + sorted[mid]) / 2
	}
	return spread{Median: median, Min: sorted[0], Max: sorted[len(sorted)-1]}
}

// pairedRatios divides value by base within each round that has both, because only the figures of
// one round were measured under the same conditions.
func pairedRatios(value, base map[int]float64) []float64 {
	var ratios []float64
	for round, v := range value {
		if b := base[round]; b > 0 {
			ratios = append(ratios, v/b)
		}
	}
	slices.Sort(ratios)
	return ratios
}
