module github.com/tenloom/tenloom/examples/go-counter

go 1.24

require github.com/tenloom/tenloom/sdk v0.0.0

replace github.com/tenloom/tenloom/sdk => ../../sdk
