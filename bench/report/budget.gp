# Success against the budget, holes times probes, and what the plans predicted. A block a series: its name; then budget,
# percent, lo, hi (measured) or budget, percent (predicted). The caller also sets: n, blocks (a letter a series: T TCP
# measured, t TCP predicted, U and u UDP), title.
load "common.gp"
set title title font ",12"
set logscale x
set xrange [0.7:*]
set yrange [-3:103]
set format x "%g"
set xlabel "holes x probes"
set ylabel "success, %"
set key at screen 60.0 / wd, screen 44.0 / ht left top horizontal maxcols 2 maxrows 2 Left reverse samplen 3 font ",11"
set bmargin at screen 98.0 / ht
set tmargin at screen 1 - 34.0 / ht
set bars 0.6
# In `blocks`, what each is: T and U measured, t and u predicted.
kind(i) = substr(blocks, i + 1, i + 1)
measured(i) = kind(i) eq "T" || kind(i) eq "U"
tcp(i) = kind(i) eq "T" || kind(i) eq "t"
at(i) = tcp(i) ? 0 : 1
# Points at one budget stand side by side.
aside(i) = tcp(i) ? 0.92 : 1.09
stroke(i) = tcp(i) ? 1 : 2
lines = ""
points = ""
do for [i=0:n - 1] {
    if (measured(i)) { points = points . sprintf(" %d", i) } else { lines = lines . sprintf(" %d", i) }
}
# (The zeros keep word() from an empty list, which no curve is drawn of.)
line(k) = int(word(lines . " 0", k))
dots(k) = int(word(points . " 0", k))
plot for [k=1:words(lines)] data index line(k) using 1:2 with lines lw 1.6 dt stroke(line(k)) \
        lc rgb colour(at(line(k))) title columnheader(1), \
    for [k=1:words(points)] data index dots(k) using ($1 * aside(dots(k))):2:3:4 with yerrorbars pt (tcp(dots(k)) ? 7 : 4) ps 0.7 \
        lc rgb colour(at(dots(k))) title columnheader(1)
