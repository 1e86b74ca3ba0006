package main

import (
	"math"
	"slices"
)

// spread is the middle and the ends of some values.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf summarises values; without any it is all zeros.
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

// percentile is the smallest of the values that at least the share p (0..1) of them does not exceed.
func percentile[T int64 | float64](values []T, p float64) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(p*float64(len(sorted)))) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

// pairedRatios divides value by base within each round that has both, because only figures of one round were taken
// under the same conditions.
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
