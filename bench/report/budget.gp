# Success against the budget, holes times probes, and what the plans predicted. A block a series: its name; then budget,
# percent, lo, hi (measured) or budget, percent (predicted). The caller also sets: n, kinds (a digit a series: 0 TCP
# measured, 1 TCP predicted, 2 and 3 UDP), title.
load "common.gp"
set title title font ",12"
set logscale x
set xrange [0.7:*]
set yrange [-3:103]
set format x "%g"
set xlabel "holes x probes"
set ylabel "success, %"
set key below left Left reverse maxcols 2 samplen 3 font ",11"
kind(i) = int(word(kinds, i + 1)) + 0
set bars 0.6
plot for [i=0:n - 1] data index i using 1:2 with lines lw (kind(i) % 2 ? 1.6 : 0) dt (kind(i) < 2 ? 1 : 2) \
        lc rgb (kind(i) % 2 ? colour(kind(i) / 2) : "#ffffff") title (kind(i) % 2 ? columnheader(1) : ""), \
    for [i=0:n - 1] data index i using 1:2:(kind(i) % 2 ? $2 : $3):(kind(i) % 2 ? $2 : $4) with yerrorbars \
        pt (kind(i) % 2 ? 0 : kind(i) < 2 ? 7 : 4) ps 0.7 lc rgb colour(kind(i) / 2) \
        title (kind(i) % 2 ? "" : columnheader(1))
