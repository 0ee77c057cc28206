package otlp

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tenloom/tenloom/telemetry"
)

// producer gives a Meter's families to the SDK's reader, when that reads. They are no instruments, so no limit of the SDK hides a tenant.
type producer struct {
	meter *telemetry.Meter
	scope instrumentation.Scope
	began time.Time
}

// Produce implements metric.Producer.
func (p *producer) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	now := time.Now()
	families := p.meter.Read()
	all := make([]metricdata.Metrics, len(families))
	for i := range families {
		f := &families[i]
		all[i] = metricdata.Metrics{Name: f.Name, Description: f.Help, Unit: f.Unit, Data: p.data(f, now)}
	}
	return []metricdata.ScopeMetrics{{Scope: p.scope, Metrics: all}}, nil
}

func (p *producer) data(f *telemetry.Family, now time.Time) metricdata.Aggregation {
	if f.Kind == telemetry.Distributions {
		return p.histogram(f, now)
	}
	points := make([]metricdata.DataPoint[float64], len(f.Series))
	for i := range f.Series {
		points[i] = metricdata.DataPoint[float64]{Attributes: set(f.Series[i].Labels), StartTime: p.began, Time: now, Value: f.Series[i].Value}
	}
	if f.Kind == telemetry.Gauge {
		return metricdata.Gauge[float64]{DataPoints: points}
	}
	return metricdata.Sum[float64]{DataPoints: points, Temporality: metricdata.CumulativeTemporality, IsMonotonic: true}
}

var bounds = func() []float64 {
	all := make([]float64, len(telemetry.Bounds))
	for i, b := range telemetry.Bounds {
		all[i] = b.Seconds()
	}
	return all
}()

func (p *producer) histogram(f *telemetry.Family, now time.Time) metricdata.Aggregation {
	points := make([]metricdata.HistogramDataPoint[float64], len(f.Series))
	for i := range f.Series {
		s := &f.Series[i]
		counts := make([]uint64, len(s.Distribution.Counts))
		for n, v := range s.Distribution.Counts {
			counts[n] = uint64(v)
		}
		points[i] = metricdata.HistogramDataPoint[float64]{
			Attributes: set(s.Labels), StartTime: p.began, Time: now, Count: uint64(s.Distribution.Count), Sum: s.Distribution.Sum.Seconds(),
			Bounds: bounds, BucketCounts: counts, Exemplars: exemplars(s.Exemplars),
		}
	}
	return metricdata.Histogram[float64]{DataPoints: points, Temporality: metricdata.CumulativeTemporality}
}

func exemplars(from []*telemetry.Exemplar) (all []metricdata.Exemplar[float64]) {
	for _, e := range from {
		if e != nil {
			all = append(all, metricdata.Exemplar[float64]{Time: e.At, Value: e.Value.Seconds(), TraceID: e.Trace[:], SpanID: e.Span[:]})
		}
	}
	return all
}

// set makes attributes of labels. A tenant is tenloom.tenant, which no other's attribute is.
func set(labels []telemetry.Label) attribute.Set {
	all := make([]attribute.KeyValue, len(labels))
	for i, l := range labels {
		name := l.Name
		if name == "tenant" {
			name = "tenloom.tenant"
		}
		all[i] = attribute.String(name, l.Value)
	}
	return attribute.NewSet(all...)
}
