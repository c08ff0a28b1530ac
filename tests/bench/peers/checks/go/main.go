// The checks of form.json written by hand, as a team writes them that has no library for them: `checks ROWS REPETITIONS`.
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type row struct {
	Site     string  `json:"SITEID"`
	Subject  string  `json:"USUBJID"`
	Visit    int     `json:"VISITNUM"`
	Date     string  `json:"VSDTC"`
	Test     string  `json:"VSTESTCD"`
	Status   string  `json:"VSSTAT"`
	Result   string  `json:"VSORRES"`
	Unit     string  `json:"VSORRESU"`
	Standard float64 `json:"VSSTRESN"`
}

type subjectTest struct{ subject, test string }

type visit struct {
	subjectTest
	visit int
}

type dated struct {
	date time.Time
	row  int
	// In kilograms; NaN without a result or a unit.
	value float64
}

type finding struct {
	row   int
	check string
}

func (f finding) MarshalJSON() ([]byte, error) { return json.Marshal([]any{f.row, f.check}) }

var now = time.Unix(1_800_000_000, 0).UTC()

func main() {
	text, err := os.ReadFile(os.Args[1])
	must(err)
	repetitions, err := strconv.Atoi(os.Args[2])
	must(err)
	subjects := map[string]bool{}
	for subject := range 500 {
		subjects[fmt.Sprintf("S-%04d", subject)] = true
	}
	sites := map[string]bool{"S-0001": true}
	var read, checked []float64
	var findings []finding
	for range repetitions {
		start := cpu()
		var rows []row
		must(json.Unmarshal(text, &rows))
		middle := cpu()
		findings = check(rows, sites, subjects)
		end := cpu()
		read, checked = append(read, middle-start), append(checked, end-middle)
	}
	must(json.NewEncoder(os.Stdout).Encode(map[string]any{"readMs": read, "checkMs": checked, "findings": findings}))
}

func check(rows []row, sites, subjects map[string]bool) []finding {
	var findings []finding
	visits := make(map[visit][]int, len(rows))
	courses := map[subjectTest][]dated{}
	for at, row := range rows {
		report := func(check string) { findings = append(findings, finding{at, check}) }
		hasResult, hasUnit := strings.TrimSpace(row.Result) != "", row.Unit != ""
		if !hasResult {
			report("result")
		}
		if !hasUnit {
			report("unit")
		}
		if !hasResult && row.Status == "" {
			report("not-done")
		}
		isWeight := row.Test == "WEIGHT"
		kilograms := math.NaN()
		if result, err := strconv.ParseFloat(row.Result, 64); err == nil {
			switch row.Unit {
			case "kg":
				kilograms = result
			case "LB":
				kilograms = result * 0.45359237
			}
		} else if hasResult {
			report("result-type")
		}
		if isWeight && hasUnit && row.Unit != "kg" && row.Unit != "LB" {
			report("unit-suits")
		}
		if isWeight && (kilograms < 1 || kilograms > 400) {
			report("possible")
		}
		if isWeight && (kilograms < 30 || kilograms > 200) {
			report("usual")
		}
		if math.Abs(row.Standard-kilograms) > 0.01 {
			report("standard")
		}
		date, err := time.Parse(time.DateOnly, row.Date)
		if err != nil {
			report("date-type")
		} else if date.After(now) {
			report("future")
		}
		if !sites[row.Site] {
			report("site")
		}
		if !subjects[row.Subject] {
			report("subject")
		}
		of := subjectTest{row.Subject, row.Test}
		visits[visit{of, row.Visit}] = append(visits[visit{of, row.Visit}], at)
		if isWeight {
			courses[of] = append(courses[of], dated{date, at, kilograms})
		}
	}
	for _, same := range visits {
		if len(same) > 1 {
			for _, at := range same {
				findings = append(findings, finding{at, "one"})
			}
		}
	}
	for _, course := range courses {
		slices.SortStableFunc(course, func(a, b dated) int { return a.date.Compare(b.date) })
		for at := 1; at < len(course); at++ {
			before, after := course[at-1].value, course[at].value
			if math.Abs(after-before)*100 > 10*math.Abs(before) {
				findings = append(findings, finding{course[at].row, "change"})
			}
		}
	}
	return findings
}

// cpu is the processor time of this process in milliseconds.
func cpu() float64 {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e6
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
