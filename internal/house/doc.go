// Package house holds the rules of this repository as tests: who may import
// whom, and what no linter knows. It knows source files, not what they do.
package house
