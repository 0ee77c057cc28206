// Package deploy brings an application to life: it reads what a manifest names, holds it against what the platform offers and grants,
// prepares every component, and only then makes the triggers active. Nothing is half started: all faults are found before the first step
// that others could see, and reported together.
//
// It reaches the running system through the functions of System, which the program gives it.
package deploy
