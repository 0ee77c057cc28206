// Package secrets finds the values of an application's variables: static values, the environment, files and folders of files, asked in the order given,
// then the manifest's defaults. It renders {{ templates }} from them.
//
// A Value prints as [redacted] wherever it is formatted, logged or encoded, and no error of this package holds one: errors name
// variables, files and lines. The package starts nothing, keeps of a folder what has not changed, and writes nothing; it refuses files above 1 MiB, text that is
// not UTF-8, nested tables, and names outside of Spin's rule for variable keys.
package secrets
