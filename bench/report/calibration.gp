# Predicted against measured. A block a series: its name; then mean prediction, percent measured, lo, hi. The caller
# also sets: n, title.
load "common.gp"
set title title font ",13"
set size square
set xrange [-2:102]
set yrange [-2:102]
set xlabel "predicted by the plans, %"
set ylabel "measured, % (95 % Wilson intervals)"
set key at screen 70.0 / wd, screen (18.0 * (n + 1) + 8) / ht left top Left reverse samplen 2 maxcols 1
set bmargin at screen (18.0 * (n + 1) + 62) / ht
set tmargin at screen 1 - 36.0 / ht
set bars 0.6
plot x with lines lw 1 dt 3 lc rgb "#808080" title "as predicted", \
    for [i=0:n - 1] data index i using ($1 + 0.5 * (i - 0.5 * (n - 1))):2:3:4 with yerrorbars pt point(i) ps 0.8 lw 1.2 \
        lc rgb colour(i) title columnheader(1)
