// Package deploy brings an application to life: it reads what a manifest names, holds it against what the platform offers and grants,
// prepares every component, and only then makes the triggers active. Nothing is half started: all faults are found before the first step
// that others could see, and those of a stage are reported together.
//
// It refuses, by name and with the next step, what Spin's manifests can ask for and this platform does not do; what is above a tenant's
// policy; and modules and files that are missing, too large, or no files at all, before it reads them.
//
// It reaches the running system through the functions of System, which the program gives it.
package deploy
