package telemetry

import "time"

// Kind says what a Family's numbers are.
type Kind uint8

const (
	Counter       Kind = iota // grows only
	Gauge                     // stands as it is
	Distributions             // histograms of seconds
)

// Family is one metric: its name as OpenTelemetry writes it, and its series at one moment.
type Family struct {
	Name   string
	Unit   string // of UCUM: s, By, {message}
	Help   string
	Kind   Kind
	Series []Series
}

// Label is one attribute of a series.
type Label struct{ Name, Value string }

// Series is one number, or one histogram, with its labels in a fixed order.
type Series struct {
	Labels       []Label
	Value        float64
	Distribution *Distribution
	Exemplars    []*Exemplar // of a Distribution, for each bucket; nil where there is none
}

// family is a Family in the making.
func family(name, unit string, kind Kind, help string) *Family {
	return &Family{Name: name, Unit: unit, Kind: kind, Help: help}
}

func (f *Family) add(value float64, labels ...Label) {
	f.Series = append(f.Series, Series{Labels: labels, Value: value})
}

// Source adds families of its own at each reading: what other rooms know. It must return soon, and is called by one reader at a time.
type Source func(add func(Family))

// GaugeOf is a Family of one number.
func GaugeOf(name, unit, help string, value float64, labels ...Label) Family {
	return Family{Name: name, Unit: unit, Help: help, Kind: Gauge, Series: []Series{{Labels: labels, Value: value}}}
}

// CounterOf is a Family of one number that grows only.
func CounterOf(name, unit, help string, value float64, labels ...Label) Family {
	return Family{Name: name, Unit: unit, Help: help, Kind: Counter, Series: []Series{{Labels: labels, Value: value}}}
}

// Timings are durations by one label of few values, such as the stages of a deployment. The zero Timings are ready.
type Timings struct {
	Name, Help, Label string
	Values            []string // that there are, in the order of Add's index
	all               []Histogram
}

// NewTimings makes them.
func NewTimings(name, help, label string, values ...string) *Timings {
	return &Timings{Name: name, Help: help, Label: label, Values: values, all: make([]Histogram, len(values))}
}

// Add counts one duration under the value with the index.
func (t *Timings) Add(i int, d time.Duration) { t.all[i].Add(d) }

// Source gives them.
func (t *Timings) Source(add func(Family)) {
	f := family(t.Name, "s", Distributions, t.Help)
	for i, v := range t.Values {
		d := t.all[i].Read()
		f.Series = append(f.Series, Series{Labels: []Label{{t.Label, v}}, Distribution: &d})
	}
	add(*f)
}
