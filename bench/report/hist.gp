# Time to connect: how many trials in each bin. Rows: from, to (ms), percent of all trials. The caller also sets: lo, hi,
# logarithmic, title, at (which colour).
load "common.gp"
set title title font ",12"
set xrange [lo:hi]
set yrange [0:*]
if (logarithmic) set logscale x
if (logarithmic) set xtics (1, 2, 5, 10, 20, 50, 100, 200, 500, "1 s" 1000, "2 s" 2000, "5 s" 5000, "10 s" 10000, "20 s" 20000, "60 s" 60000)
set xlabel "time to connect, ms"
set ylabel "% of all trials"
set style fill solid 0.7 border lc rgb colour(at)
unset key
plot data using 1:3:1:2:(0):3 with boxxyerror lc rgb colour(at)
