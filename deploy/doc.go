// Package deploy brings an application to life: it reads what a manifest names, holds it against what the platform offers and grants,
// prepares every component, and only then makes the triggers active. Nothing is half started: all faults are found before the first step
// that others could see, and those of a stage are reported together.
//
// It refuses, by name and with the next step, what Spin's manifests can ask for and this platform does not do; what is above a tenant's
// policy; and modules and files that are missing, too large, or no files at all, before it reads them.
//
// Deploy brings one application from a folder to life, once. A Controller does it for many tenants from a control store: Versions made of what was
// uploaded, Deployments that give them traffic, rollback, canaries with a guard, pauses, and all of it again after a restart. What was live serves
// until what replaces it is warm and subscribed, and again where that fails.
//
// It reaches the running system through the functions of System and Config, which the program gives it. It decides nothing about access.
package deploy
